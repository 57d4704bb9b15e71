"""DAgger (Ross et al. 2011; Lin et al. 2020, equation 7 and algorithm 2): rounds of outputs, all kept and learned from.

At the beginning of round i each source gets a new output, which the teacher writes with probability beta_i and the
student otherwise. It joins those of all earlier rounds; training goes on on the aggregate, every prefix of which the
teacher labels. A round's outputs are a file, so that a continued run goes on from the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int, Integer

from seqdistill.data.batches import Batch, Batches, collate_sources
from seqdistill.data.store import Store
from seqdistill.decoding.corpus import length_batches
from seqdistill.decoding.decode import decode
from seqdistill.decoding.given import Given
from seqdistill.distillation.imitation import MIXING
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.errors import UserError
from seqdistill.files import sha256_file, sha256_json, written_beside
from seqdistill.journal import Record
from seqdistill.models.interface import Model
from seqdistill.options import RolloutOptions
from seqdistill.progress import Progress, Silent


class Aggregate:
    """Sources of a store with the outputs of several rounds; looks like a store (see data.batches.Pairs)."""

    def __init__(self, store: Store, rounds: list[Path]) -> None:
        tables = [pq.read_table(path) for path in rounds]
        self.path = rounds[0].parent
        self.fingerprint = sha256_json([store.fingerprint, *(sha256_file(path) for path in rounds)])
        self._store = store
        self._lines = np.concatenate([table["line"].to_numpy() for table in tables])
        tokens = [pa.concat_arrays(table["tokens"].chunks) for table in tables]
        self._lengths = np.concatenate([np.diff(part.offsets.to_numpy()) for part in tokens])
        self._tokens = np.concatenate([part.flatten().to_numpy() for part in tokens])
        # All tokens in one array: lengths 2 3 give the ends 2 5, so pair 1 has the tokens 2 .. 4.
        self._ends = self._lengths.cumsum(dtype=np.int64)

    def __len__(self) -> int:
        return len(self._lines)

    def source_ids(self, i: int) -> Integer[np.ndarray, " tokens"]:
        """Token ids of a source, without EOS."""
        return self._store.source_ids(int(self._lines[i]))

    def target_ids(self, i: int) -> Integer[np.ndarray, " tokens"]:
        """Token ids of what was written for it, without EOS."""
        return self._tokens[self._ends[i] - self._lengths[i] : self._ends[i]]

    @property
    def source_lengths(self) -> Int[np.ndarray, " pairs"]:
        """Number of source tokens of every pair, without EOS."""
        return self._store.source_lengths[self._lines]

    @property
    def target_lengths(self) -> Int[np.ndarray, " pairs"]:
        """Number of target tokens of every pair, without EOS."""
        return self._lengths


class Dagger:
    """Batches of the aggregate of all rounds so far; a BatchStream."""

    def __init__(
        self,
        store: Store,
        student: Model,
        teacher: Model,
        label: Callable[[Batch], Batch],
        options: RolloutOptions,
        *,
        rounds: int,
        max_updates: int,
        batches_per_update: int,
        batch_tokens: int,
        seed: int,
        folder: Path,
        log_metrics: LogMetrics | None = None,
        progress: Progress | None = None,
        max_tokens: int = 8192,
    ) -> None:
        """Args:
            teacher: writes with probability beta_i.
            options: how both write; beta_i is the mixing at part (i-1)/(rounds-1) of the schedule.
            rounds: N; they begin at equal distances within `max_updates`.
            folder: the outputs of each round are kept here.
            max_tokens: source tokens decoded at a time.

        Raises:
            UserError: less than one round, or more rounds than updates.
        """
        if not 1 <= rounds <= max_updates:
            raise UserError(f"dagger_rounds must be from 1 to max_updates ({max_updates}), but is {rounds}")
        self._store, self._student, self._teacher, self._label = store, student, teacher, label
        self._decoding = options.decoding
        self._options, self._rounds, self._max_updates = options, rounds, max_updates
        self._per_update = batches_per_update
        self._batch_tokens, self._seed, self._folder, self._max_tokens = batch_tokens, seed, folder, max_tokens
        self._figures, self._progress = log_metrics or LogMetrics(), progress or Silent()
        self._taken, self._round = 0, 0
        self._batches: Batches | None = None

    def __iter__(self) -> Dagger:
        return self

    def __next__(self) -> Batch:
        # Round i of N begins at update (i - 1) / N of all: of 10 updates in 3 rounds, with updates 0, 4 and 7.
        due = self._taken // self._per_update * self._rounds // self._max_updates + 1
        while self._round < min(due, self._rounds):
            self._write_round(self._round + 1)
            self._open_round(self._round + 1)
        assert self._batches is not None
        self._taken += 1
        return self._label(next(self._batches))

    def log_metrics(self) -> dict[str, float]:
        """Means since the last call: the round, and share of time."""
        self._figures.add("round", self._round, 1)
        return self._figures.take()

    def state(self) -> dict[str, Any]:
        """Where the stream is; the rounds themselves are files."""
        return {
            "record": self._record.as_json(),
            "taken": self._taken,
            "round": self._round,
            "rounds": [sha256_file(self._path(number)) for number in range(1, self._round + 1)],
            "batches": None if self._batches is None else self._batches.state(),
            "sums": self._figures.sums(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state` was taken.

        Raises:
            UserError: the state is of another kind of training, or a round's file is gone or altered.
        """
        self._record.check(state["record"], "the checkpoint")
        for number, expected in enumerate(state["rounds"], 1):
            path = self._path(number)
            if not path.is_file() or sha256_file(path) != expected:
                raise UserError(
                    f"{path}: gone or altered since the checkpoint was written; start again in another --out"
                )
        self._taken, self._round, self._batches = state["taken"], 0, None
        if state["round"]:
            self._open_round(state["round"])
            assert self._batches is not None
            self._batches.restore(state["batches"])
        self._figures.restore(state["sums"])

    @property
    def _record(self) -> Record:
        options = self._options.values(RolloutOptions) | {
            "rounds": self._rounds,
            "max_updates": self._max_updates,
            "batches_per_update": self._per_update,
            "batch_tokens": self._batch_tokens,
        }
        return Record("rounds", options, {"store": self._store.fingerprint})

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04d}.parquet"

    def _open_round(self, number: int) -> None:
        self._round = number
        pairs = Aggregate(self._store, [self._path(earlier) for earlier in range(1, number + 1)])
        self._batches = Batches(
            pairs,
            max_tokens=self._batch_tokens,
            # Each round shuffles the aggregate anew.
            seed=self._seed + number,
            source_ids=self._student.source_ids,
            target_ids=self._student.target_ids,
        )

    def _write_round(self, number: int) -> None:
        part = (number - 1) / max(1, self._rounds - 1)
        beta = MIXING[self._options.mixing](part, self._options.mixing_rate)
        # Who writes a line depends on seed, round and line alone; both writers fill their lines of one list.
        draws = np.random.default_rng([self._options.seed, number]).random(len(self._store))
        written: list[tuple[int, ...]] = [()] * len(self._store)
        with self._figures.timed("rollout"):
            for writer, chosen in ((self._teacher, draws < beta), (self._student, draws >= beta)):
                self._decode(writer, np.flatnonzero(chosen).tolist(), number, written)
        table = pa.table(
            {"line": pa.array(range(len(written)), pa.int64()), "tokens": pa.array(written, pa.list_(pa.int32()))}
        )
        with written_beside(self._path(number)) as beside:
            pq.write_table(table, beside)

    def _decode(self, writer: Model, lines: list[int], number: int, written: list[tuple[int, ...]]) -> None:
        device = next(writer.parameters()).device
        sources, done = [self._store.source_ids(line).tolist() for line in lines], 0
        for piece in length_batches(sources, self._max_tokens // self._decoding.beam):
            source = collate_sources([sources[k] for k in piece], writer.source_ids).to(device)
            # Another seed for a line in every round, or sampling would write the same again.
            given = Given(seeds=[lines[k] + number * len(self._store) for k in piece])
            for k, found in zip(piece, decode(writer, source, self._decoding, given), strict=True):
                written[lines[k]] = found[0].tokens
            done += len(piece)
            self._progress.advance(0, round=f"{number}/{self._rounds}", written=f"{done:,}/{len(lines):,}")
