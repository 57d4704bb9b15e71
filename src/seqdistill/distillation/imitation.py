"""Imitation learning (ImitKD, Lin et al. 2020, equation 4 and algorithm 1): training on what the student writes itself.

`Rollouts` is a stream of batches like any other. At update i of I each example keeps its initial target with
probability beta_i; otherwise the current student writes another. A teacher then labels every prefix. For speed
(section 3.4) the outputs for M updates are written at once, by a student that is up to M - 1 updates old.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from seqdistill.data.batches import Batch, collate, collate_sources
from seqdistill.decoding.corpus import length_batches
from seqdistill.decoding.decode import decode
from seqdistill.decoding.given import Given
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.journal import Record
from seqdistill.models.interface import Model
from seqdistill.native.search import length_limit
from seqdistill.options import RolloutOptions
from seqdistill.vocabulary.ids import SpecialIds

STEEPNESS = 10.0
"""Of the inverse sigmoid: its argument falls by this much from the first update to the last."""


def _inverse_sigmoid(part: float, rate: float) -> float:
    """Falls from 1 to `rate` along a logistic curve, slowly at both ends (as in Bengio et al. 2015, figure 2)."""
    first, here, last = (1 / (1 + math.exp(STEEPNESS * (x - 0.5))) for x in (0.0, part, 1.0))
    # Stretched so that it is 1 at part 0 and `rate` at part 1.
    return rate + (1 - rate) * (here - last) / (first - last)


MIXING: dict[str, Callable[[float, float], float]] = {
    "exponential": lambda part, rate: rate**part,
    "linear": lambda part, rate: 1 - (1 - rate) * part,
    "inverse-sigmoid": _inverse_sigmoid,
    "constant": lambda _, rate: rate,
}
"""beta, the share of initial targets, as a function of the part i/I of the training and of the final mixing rate r.

Half way through a training with r = 0.01:

    >>> [round(MIXING[name](0.5, 0.01), 3) for name in ("exponential", "linear", "inverse-sigmoid", "constant")]
    [0.1, 0.505, 0.505, 0.01]
"""


@runtime_checkable
class Source(Protocol):
    """The stream of batches for the roll-outs; see training.loop.BatchStream."""

    def __next__(self) -> Batch: ...
    def state(self) -> Mapping[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


Written = dict[int, tuple[int, ...]]
"""Row of a batch -> what the student wrote for it, without EOS."""


class _Ready(NamedTuple):
    """A batch of the pool."""

    batch: Batch
    written: Written
    """Kept for the checkpoint."""


class Rollouts:
    """Batches some of whose targets the student wrote; a BatchStream.

    Which rows are replaced, and what sampling draws, are functions of the seed and of the number of the batch among
    those of all ranks: a continued run and one on other ranks draw the same.
    """

    def __init__(
        self,
        batches: Source,
        student: Model,
        label: Callable[[Batch, Collection[int]], Batch],
        options: RolloutOptions,
        *,
        max_updates: int,
        batches_per_update: int,
        log_metrics: LogMetrics | None = None,
        max_tokens: int = 8192,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Args:
        batches: where examples and initial targets come from: data (ImitKD) or a teacher's outputs (ImitKD*).
        student: writes in evaluation mode, as it is at the first update of each pool.
        label: adds what the teacher says, once for each batch of the pool; is told which rows the student wrote.
        max_updates: I, after which the share of initial targets is the final one.
        batches_per_update: micro-batches of an update on this rank.
        max_tokens: source tokens that the student decodes at a time.
        """
        self._source, self._student, self._label, self._options = batches, student, label, options
        self._decoding = options.decoding
        self._max_updates, self._per_update, self._max_tokens = max_updates, batches_per_update, max_tokens
        self._rank, self._ranks, self._figures = rank, ranks, log_metrics or LogMetrics()
        self._size = options.pool * batches_per_update
        self._ids = student.source_ids, student.target_ids
        self._taken = 0
        self._origin: Mapping[str, Any] = {}
        self._pool: deque[_Ready] = deque()

    def __iter__(self) -> Rollouts:
        return self

    def __next__(self) -> Batch:
        # The pool's batches are read, rolled out and labelled together, then handed out one by one. `_origin` is where
        # the source stood before: a checkpoint within the pool goes back there, reads the same batches again and skips
        # those that were taken. What the student wrote is kept with it, since the student has changed meanwhile.
        if not self._pool:
            self._origin = self._source.state()
            batches = [next(self._source) for _ in range(self._size)]
            self._fill(batches, self._write(batches, [self._replaced(batch, n) for n, batch in enumerate(batches)]))
        ready = self._pool.popleft()
        self._taken += 1
        # In updates: a pool of 4 with 2 batches each is taken at ages 0 0 1 1 2 2 3 3.
        age = (self._size - len(self._pool) - 1) // self._per_update
        self._figures.add("staleness", age, 1)
        return ready.batch

    def share_of_data(self, update: int) -> float:
        """beta of an update, counted from 1."""
        part = min(1.0, update / self._max_updates)
        return MIXING[self._options.mixing](part, self._options.mixing_rate)

    def log_metrics(self) -> dict[str, float]:
        """Means since the last call: share of roll-outs, of those cut off, their age in updates, and of time."""
        return self._figures.take()

    def state(self) -> dict[str, Any]:
        """Where the stream is, with what the student wrote for batches not yet taken: it could not write it again."""
        return {
            "record": self._record.as_json(),
            "taken": self._taken,
            "data": dict(self._origin if self._pool else self._source.state()),
            "pool": [[[row, *tokens] for row, tokens in ready.written.items()] for ready in self._pool],
            "sums": self._figures.sums(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state` was taken.

        Raises:
            UserError: the state is of a training without roll-outs, or with others; says what differs.
        """
        self._record.check(state["record"], "the checkpoint")
        self._source.restore(state["data"])
        self._taken, self._origin, self._pool = state["taken"], state["data"], deque()
        if state["pool"]:
            # The source knows only where the pool began: all of it is read again, and what was taken is dropped.
            skipped = self._size - len(state["pool"])
            batches = [next(self._source) for _ in range(self._size)][skipped:]
            self._fill(batches, [{row: tuple(tokens) for row, *tokens in rows} for rows in state["pool"]])
        self._figures.restore(state["sums"])

    @property
    def _record(self) -> Record:
        ends = {} if self._options.mixing == "constant" else {"max_updates": self._max_updates}
        options = self._options.values(RolloutOptions) | {"batches_per_update": self._per_update} | ends
        return Record("roll-outs", options)

    def _fill(self, batches: list[Batch], written: list[Written]) -> None:
        for batch, outputs in zip(batches, written, strict=True):
            self._pool.append(_Ready(self._label(rewritten(batch, outputs, *self._ids), outputs.keys()), outputs))

    def _replaced(self, batch: Batch, ahead: int) -> list[int]:
        """The rows of a batch whose targets the student is to write; `ahead` counts batches of this pool."""
        # A row is rolled out if its number in [0, 1) is beta or more; the numbers depend on seed and batch alone.
        number = self._taken + ahead
        beta = self.share_of_data(number // self._per_update + 1)
        draws = np.random.default_rng([self._options.seed, self._everywhere(number)]).random(len(batch.source))
        rows = np.flatnonzero(draws >= beta).tolist()
        self._figures.add("rollout_share", len(rows), len(draws))
        return rows

    def _everywhere(self, number: int) -> int:
        """The number of this rank's batch among those of all ranks."""
        return number * self._ranks + self._rank

    def _write(self, batches: list[Batch], replaced: list[list[int]]) -> list[Written]:
        """Lets the student write for these rows, all batches together, in pieces of similar length."""
        # Rows of all batches of the pool are sorted by length together, which fills the student's batches better than
        # the rows of one would; `places` says where each belongs. A row's seed is its batch's number times 2^20 plus
        # its own, so what is sampled does not depend on what it is decoded with.
        places = [(n, row) for n, rows in enumerate(replaced) for row in rows]
        padding = self._student.source_ids.pad
        sources = [without_padding(batches[n].source[row], padding) for n, row in places]
        written: list[Written] = [{} for _ in batches]
        options, cut = self._decoding, 0
        if not places:
            return written
        device = next(self._student.parameters()).device
        with self._figures.timed("rollout"):
            for piece in length_batches(sources, self._max_tokens // options.beam):
                source = collate_sources([sources[k] for k in piece], self._student.source_ids).to(device)
                numbers = [self._everywhere(self._taken + places[k][0]) * 2**20 + places[k][1] for k in piece]
                found = decode(self._student, source, options, Given(seeds=numbers))
                for k, hypotheses in zip(piece, found, strict=True):
                    n, row = places[k]
                    written[n][row] = hypotheses[0].tokens
                    # A finished output ends with EOS, which counts against the limit but is not in `tokens`: only one
                    # that was cut is as long as the limit.
                    cut += len(hypotheses[0].tokens) == length_limit(len(sources[k]), options)
        self._figures.add("truncated_share", cut, len(places))
        return [dict(sorted(outputs.items())) for outputs in written]


def without_padding(row: torch.Tensor, padding: int) -> list[int]:
    """The tokens of a padded row, without its EOS."""
    tokens = row.tolist()
    return tokens[: len(tokens) - tokens.count(padding) - 1]


def rewritten(
    batch: Batch, outputs: Mapping[int, tuple[int, ...]], source_ids: SpecialIds, target_ids: SpecialIds
) -> Batch:
    """The batch with other targets in some rows."""
    if not outputs:
        return batch
    pairs = [
        (
            without_padding(source, source_ids.pad),
            outputs[row] if row in outputs else without_padding(target, target_ids.pad),
        )
        for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True))
    ]
    made = collate(pairs, batch.index.cpu().numpy(), source_ids=source_ids, target_ids=target_ids)
    return made.to(batch.source.device)
