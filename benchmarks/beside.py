"""How fast are training and decoding beside 0, 1 and 2 busy processes, by how threads wait? Writes bench-beside.

    python -m benchmarks.beside [--rounds N] [--seconds N]      # ten minutes, on a machine that does nothing else

The demo's teacher is trained by our loop, and decoded with beam 5 by our engine, in one process for each way of
waiting. The processes take turns of a few seconds, and only the one whose turn it is works, beside processes that
count. A ratio is the median over rounds of ratios within one round.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from benchmarks.beside_work import VOCAB
from evidence.script import arguments, captions, execute, record, tell
from seqdistill.data.store import build_store
from seqdistill.runtime.ctranslate2_engine import usable_cores
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.threads import CHOICES
from seqdistill.vocabulary.vocabularies import train_vocabularies

OURS, SPINNING = "seqdistill", "torch's default (300,000 spins)"
WAYS = {
    OURS: {},
    SPINNING: {"GOMP_SPINCOUNT": "300000"},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "100 spins": {"GOMP_SPINCOUNT": "100"},
    "no spins (OMP_WAIT_POLICY=passive)": {"OMP_WAIT_POLICY": "passive"},
}
TASKS = ("training", "decoding")
BUSY = (0, 1, 2)
Speeds = dict[tuple[str, str, int], list[float]]
"""Target tokens a second in each round, by task, way of waiting and number of busy processes beside."""


class Worker:
    """A process of beside_work.py, which works when it is told to."""

    def __init__(self, task: str, way: str, folder: Path, threads: int) -> None:
        free = {name: value for name, value in os.environ.items() if name not in CHOICES}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.beside_work", task, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=free | WAYS[way],
        )
        self.speed()  # what it prints when it is ready

    def speed(self, seconds: float | None = None) -> float:
        """Tokens a second over the next `seconds`."""
        if seconds:
            print(seconds, file=self._pipe(self.process.stdin), flush=True)
        line = self._pipe(self.process.stdout).readline()
        if not line:
            sys.exit(f"{self.process.args} ended with {self.process.wait()}; its message is above")
        return float(line)

    def close(self) -> None:
        self._pipe(self.process.stdin).close()
        self.process.wait()

    @staticmethod
    def _pipe(end: IO[str] | None) -> IO[str]:
        assert end is not None
        return end


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that only count, meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measured(folder: Path, *, rounds: int, seconds: float, threads: int) -> Speeds:
    speeds: Speeds = {}
    with ExitStack() as stack:
        workers = {(task, way): Worker(task, way, folder, threads) for task, way in itertools.product(TASKS, WAYS)}
        for worker in workers.values():
            stack.callback(worker.close)
        order = list(workers)
        for number in range(rounds):
            for busy in BUSY:
                with busy_processes(busy):
                    for task, way in order:
                        speed = workers[task, way].speed(seconds)
                        speeds.setdefault((task, way, busy), []).append(speed)
                        tell(f"round {number + 1}, {busy} busy, {task}, {way}: {speed:,.0f} tokens/s")
            order = order[3:] + order[:3]
    return speeds


def ratio(speeds: Speeds, task: str, over: tuple[str, int], under: tuple[str, int]) -> float:
    """Median over rounds."""
    pairs = zip(speeds[task, *over], speeds[task, *under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def main() -> None:
    work = Path("build/benchmarks/beside")
    parser = arguments(__doc__, **captions("en", "de"), rounds=5, seconds=4.0, threads=usable_cores(), work=work)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    pairs = itertools.islice(ParallelCorpus.from_files(given.source, given.target), 10_000)
    pairs = [pair for pair in pairs if pair.source.strip() and pair.target.strip()]
    build_store(pairs, train_vocabularies(pairs, vocab_size=VOCAB), given.work / "train.arrow")
    speeds = measured(given.work, rounds=given.rounds, seconds=given.seconds, threads=given.threads)
    figures: dict[str, float] = {}
    for task, prefix in zip(TASKS, ("", "decoding_"), strict=True):
        figures |= {
            f"{prefix}one_busy_over_quiet": ratio(speeds, task, (OURS, 1), (OURS, 0)),
            f"{prefix}two_busy_over_quiet": ratio(speeds, task, (OURS, 2), (OURS, 0)),
            f"{prefix}quiet_over_spinning": ratio(speeds, task, (OURS, 0), (SPINNING, 0)),
            f"{prefix}two_busy_over_spinning": ratio(speeds, task, (OURS, 2), (SPINNING, 2)),
        }
    rows = [
        {"task": task, "waiting": way, "busy_processes": busy, "target_tokens_per_second": statistics.median(found)}
        | {"lowest": min(found), "highest": max(found)}
        for (task, way, busy), found in sorted(speeds.items(), key=lambda item: (item[0][0] != TASKS[0], item[0]))
    ]
    for row in rows:
        row |= {name: round(value, 1) for name, value in row.items() if isinstance(value, float)}
    claim = (
        "Training the demo's teacher, and decoding with it, beside 0, 1 and 2 busy processes, by how OpenMP's threads "
        f"wait for each other: {given.threads} threads on {usable_cores()} cores, float32"
    )
    record("bench-beside", given, claim=claim, figures=figures, rows=rows)


if __name__ == "__main__":
    execute(main)
