"""From the token store to padded tensors: batches by token budget, bucketed by length, shuffled, split by rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from seqdistill.data.packing import by_length, cut
from seqdistill.data.store import Store
from seqdistill.errors import UserError
from seqdistill.journal import Record
from seqdistill.vocabulary.ids import OURS, SpecialIds

TokenIds = Sequence[int] | np.ndarray
Pair = tuple[TokenIds, TokenIds]


class Batch(NamedTuple):
    """Sentence pairs, right-padded with PAD. Both sides end with EOS; neither holds what a decoder starts with."""

    source: Int[Tensor, "batch source"]
    target: Int[Tensor, "batch target"]
    index: Int[Tensor, " batch"]  # pyright: ignore[reportIncompatibleMethodOverride]
    """Line number of each pair in the store, 0-based."""
    num_labels: int
    """Number of target tokens, EOS included, padding excluded."""
    labels: Int[Tensor, "batch target"] | None = None
    """What to learn after each prefix of the target, if not the target itself; PAD where the target has PAD."""
    teacher_states: tuple[Float[Tensor, "labels _"], ...] | None = None
    """Each teacher's states for the target tokens, row by row without padding: its distributions before projection."""

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        labels, states = self.labels, self.teacher_states
        return Batch(
            self.source.to(device),
            self.target.to(device),
            self.index.to(device),
            self.num_labels,
            None if labels is None else labels.to(device),
            None if states is None else tuple(each.to(device) for each in states),
        )


def collate_sources(
    sources: Sequence[TokenIds], ids: SpecialIds = OURS, *, pad_to: int = 1
) -> Int[Tensor, "batch source"]:
    """Appends EOS to each row and pads all to the longest, rounded up to a multiple of `pad_to`."""
    longest = _round_up(max(map(len, sources), default=0) + 1, pad_to)
    # Sources 7 8 and 9 become 7 8 EOS and 9 EOS PAD.
    rows = np.full((len(sources), longest), ids.pad, dtype=np.int64)
    for row, tokens in zip(rows, sources, strict=True):
        row[: len(tokens)] = tokens
        row[len(tokens)] = ids.eos
    return torch.from_numpy(rows)


def collate(
    pairs: Sequence[Pair],
    index: Sequence[int] | np.ndarray | None = None,
    *,
    source_ids: SpecialIds = OURS,
    target_ids: SpecialIds = OURS,
    pad_to: int = 1,
) -> Batch:
    """A batch of these (source ids, target ids) without EOS; `index` are their line numbers, 0, 1, ... by default."""
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    return Batch(
        source=collate_sources(sources, source_ids, pad_to=pad_to),
        target=collate_sources(targets, target_ids, pad_to=pad_to),
        index=torch.as_tensor(np.asarray(range(len(pairs)) if index is None else index, dtype=np.int64)),
        num_labels=sum(map(len, targets)) + len(targets),
    )


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


@runtime_checkable
class Pairs(Protocol):
    """What batches are made from: a `Store`, or anything with its interface."""

    path: Path
    fingerprint: str

    def __len__(self) -> int: ...

    def source_ids(self, i: int) -> Integer[np.ndarray, " tokens"]: ...

    def target_ids(self, i: int) -> Integer[np.ndarray, " tokens"]: ...

    @property
    def source_lengths(self) -> Int[np.ndarray, " pairs"]: ...

    @property
    def target_lengths(self) -> Int[np.ndarray, " pairs"]: ...


class _Plan(NamedTuple):
    """The batches of one epoch: batch k holds the pairs order[starts[k] : ends[k]]."""

    order: Int[np.ndarray, " pairs"]
    starts: Int[np.ndarray, " batches"]
    ends: Int[np.ndarray, " batches"]


class Batches:
    """An endless stream of training batches, position and all reproducible from (store, seed, epoch).

    Each epoch uses every pair once. Pairs are ordered by length with ties broken at random, cut into batches whose
    padded source and padded target hold at most `max_tokens` tokens each (EOS included), and the batches are shuffled.

    Of `ranks` processes, each takes every `ranks`-th batch of one global stream that runs on from epoch to epoch. So
    with twice the ranks and half the batches per update, update i sees the same batches, and no rank has more of them.
    """

    def __init__(
        self,
        store: Pairs,
        *,
        max_tokens: int,
        seed: int,
        source_ids: SpecialIds = OURS,
        target_ids: SpecialIds = OURS,
        rank: int = 0,
        ranks: int = 1,
        max_length: int | None = None,
        pad_to: int = 1,
    ):
        """Args:
            max_tokens: rows times longest row at most, on either side.
            source_ids, target_ids: of the vocabularies of the pairs, as the model has them.
            max_length: skip pairs with more tokens than this on a side, EOS included; `skipped` counts them.
            pad_to: pad to multiples of this length.

        Raises:
            UserError: a pair is longer than `max_tokens`, or no pair is short enough for `max_length`.
        """
        assert 0 <= rank < ranks
        self._store, self._rank, self._ranks = store, rank, ranks
        self._source_ids, self._target_ids = source_ids, target_ids
        self._seed, self._max_tokens, self._max_length, self._pad_to = seed, max_tokens, max_length, pad_to
        source, target = store.source_lengths + 1, store.target_lengths + 1
        longer = np.maximum(source, target)
        self._rows = np.arange(len(store)) if max_length is None else np.flatnonzero(longer <= max_length)
        self.skipped = len(store) - len(self._rows)
        if not len(self._rows):
            raise UserError(
                f"{store.path}: none of its {len(store)} pairs can be used: both sides must have at most {max_length} "
                "tokens, EOS included; raise the maximum length, or give other data"
            )
        self._source, self._target = source[self._rows], target[self._rows]
        # Rounded up, as rows are padded: the budget is for what a batch holds in memory.
        self._longer = -(-longer[self._rows] // pad_to) * pad_to
        self._check_budget()
        self._plans: dict[int, _Plan] = {}
        self._epoch, self._position = 0, 0

    def _check_budget(self) -> None:
        worst = int(self._longer.argmax())
        if self._longer[worst] > self._max_tokens:
            raise UserError(
                f"{self._store.path}: pair {self._rows[worst] + 1} has {self._source[worst]} source and "
                f"{self._target[worst]} target tokens (EOS included, padded to {self._longer[worst]}), more than a "
                f"batch of {self._max_tokens} holds; raise the tokens of a batch or lower the maximum length"
            )

    def longer_targets(self, tokens: int) -> list[int]:
        """Pairs, by their number from 0, whose target has more tokens than that, EOS not counted."""
        return self._rows[self._target > tokens + 1].tolist()  # `_target` counts EOS

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        # (epoch, position) is the next batch of rank 0, the same on every rank; rank r takes the r-th after it, which
        # may lie in the next epoch. Of 3 batches an epoch, 2 ranks take 0 and 1; 2 and 0 of the next; 1 and 2; and so
        # on.
        epoch, position = self._normal(self._epoch, self._position + self._rank)
        plan = self._plan(epoch)
        rows = plan.order[plan.starts[position] : plan.ends[position]]
        self._epoch, self._position = self._normal(self._epoch, self._position + self._ranks)
        return _batch(self._store, self._rows[rows], self._source_ids, self._target_ids, self._pad_to)

    def _normal(self, epoch: int, position: int) -> tuple[int, int]:
        """The same place in the stream, with the position inside its epoch."""
        while position >= (length := len(self._plan(epoch).starts)):
            epoch, position = epoch + 1, position - length
        return epoch, position

    def _plan(self, epoch: int) -> _Plan:
        if epoch not in self._plans:
            random = np.random.default_rng([self._seed, epoch])
            ties = random.permutation(np.arange(len(self._rows), dtype=np.int32))
            order = by_length(self._source, self._target, ties)
            starts, ends = cut(self._longer[order], self._max_tokens)
            shuffled = random.permutation(len(starts))
            # Two plans at most: with the last batches of an epoch, other ranks are in the next one already.
            self._plans = {e: plan for e, plan in self._plans.items() if e >= self._epoch}
            self._plans[epoch] = _Plan(order, starts[shuffled], ends[shuffled])
        return self._plans[epoch]

    @property
    def epoch(self) -> int:
        """Epochs finished, the same on every rank: that of the next batch of rank 0."""
        return self._epoch

    @property
    def position(self) -> int:
        """Batches of this epoch handed out to all ranks together."""
        return self._position

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this epoch, all ranks together."""
        return len(self._plan(self._epoch).starts)

    @property
    def padding(self) -> float:
        """Fraction of this epoch's tensor cells that are padding, both sides together."""
        plan = self._plan(self._epoch)
        starts, ends = np.sort(plan.starts), np.sort(plan.ends)
        cells = 0
        for lengths in (self._source[plan.order], self._target[plan.order]):
            # Sorted, the batches are runs of `order` again: `reduceat` takes the longest row of each.
            longest = np.maximum.reduceat(lengths, starts).astype(np.int64)
            cells += int((-(-longest // self._pad_to) * self._pad_to * (ends - starts)).sum())
        return 1 - int(self._source.sum(dtype=np.int64) + self._target.sum(dtype=np.int64)) / cells

    def state(self) -> dict[str, Any]:
        """Where the stream is, as JSON; the same on every rank, and any number of ranks can go on from it."""
        return {"record": self._record.as_json(), "epoch": self._epoch, "position": self._position}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state` was taken: the next batch is the one that would have followed.

        Raises:
            UserError: the state is of another store, seed or batch size; names what differs.
        """
        self._record.check(state["record"], "the checkpoint")
        self._epoch, self._position = state["epoch"], state["position"]
        self._plans = {}

    def log_metrics(self) -> dict[str, float]:
        """No log metrics: nothing in this stream changes during training."""
        return {}

    @property
    def _record(self) -> Record:
        options = {
            "seed": self._seed,
            "max_tokens": self._max_tokens,
            "max_length": self._max_length,
            "pad_to": self._pad_to,
        }
        return Record("batches", options, {"store": self._store.fingerprint})


def _batch(store: Pairs, lines: np.ndarray, source_ids: SpecialIds, target_ids: SpecialIds, pad_to: int = 1) -> Batch:
    pairs = [(store.source_ids(i), store.target_ids(i)) for i in lines.tolist()]
    return collate(pairs, lines, source_ids=source_ids, target_ids=target_ids, pad_to=pad_to)


def ordered_batches(
    pairs: Store | Sequence[Pair],
    *,
    max_tokens: int,
    source_ids: SpecialIds = OURS,
    target_ids: SpecialIds = OURS,
) -> Iterator[Batch]:
    """Every pair once, in batches from short to long; `index` says which pair is where.

    A pair longer than `max_tokens` is a batch of its own, so nothing is left out of a score.
    """
    if isinstance(pairs, Store):
        source, target = pairs.source_lengths + 1, pairs.target_lengths + 1
    else:
        source, target = (np.array([len(pair[side]) + 1 for pair in pairs], dtype=np.int64) for side in (0, 1))
    order = by_length(source, target, np.arange(len(pairs)))
    longer = np.maximum(source, target)[order].astype(np.int64)
    starts, ends = cut(longer, max_tokens)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        lines = order[start:end]
        if isinstance(pairs, Store):
            yield _batch(pairs, lines, source_ids, target_ids)
        else:
            chosen = [pairs[i] for i in lines.tolist()]
            yield collate(chosen, lines, source_ids=source_ids, target_ids=target_ids)
