"""How fast are training and decoding beside 0, 1 and 2 busy processes, by how threads wait? Writes bench-beside.

    python -m benchmarks.beside [--rounds N] [--seconds N]      # twelve minutes, on a machine that does nothing else

The demo's teacher is trained by our loop, and decoded with beam 5 by our engine, in one process for each way in which
OpenMP's threads can wait for each other. The processes take turns of a few seconds, and only the one whose turn it is
works, beside processes that count. A ratio is the median over rounds of ratios within one round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.beside_work import VOCAB
from evidence.rounds import Turn, by_name, ratios, rounds
from evidence.script import arguments, captions, execute, record, tell
from seqdistill.data.store import build_store
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.threads import CHOICES, usable_cores
from seqdistill.vocabulary.vocabularies import train_vocabularies

OURS, SPINNING = "seqdistill (1,000 spins)", "torch's default (300,000 spins)"
WAYS = {
    OURS: {},
    SPINNING: {"GOMP_SPINCOUNT": "300000"},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "100 spins": {"GOMP_SPINCOUNT": "100"},
    "no spins (OMP_WAIT_POLICY=passive)": {"OMP_WAIT_POLICY": "passive"},
}
TASKS = {"training": "", "decoding": "decoding_"}
"""What their figures begin with."""
PAIRS = 10_000


class System(NamedTuple):
    """What is measured."""

    task: str
    waiting: str
    busy_processes: int

    def __str__(self) -> str:
        return f"{self.task}, {self.waiting}, {self.busy_processes} busy"


class Worker:
    """A process of beside_work.py, which works when it is told to."""

    def __init__(self, task: str, way: str, given: argparse.Namespace) -> None:
        free = {name: value for name, value in os.environ.items() if name not in CHOICES}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.beside_work", task, str(given.work), str(given.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=free | WAYS[way],
        )
        self._answer()  # that it is ready

    def speed(self, seconds: float) -> float:
        """Target tokens a second over so many seconds."""
        print(seconds, file=_pipe(self.process.stdin), flush=True)
        return self._answer()

    def close(self) -> None:
        _pipe(self.process.stdin).close()
        self.process.wait()

    def _answer(self) -> float:
        line = _pipe(self.process.stdout).readline()
        if not line:
            sys.exit(f"{self.process.args} ended with code {self.process.wait()}; its message is above")
        return float(line)


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


def turn_of(worker: Worker, busy: int, seconds: float) -> float:
    with busy_processes(busy):
        speed = worker.speed(seconds)
    tell(f"  {speed:,.0f} tokens/s")
    return speed


def figures_of(turns: list[Turn[float]]) -> dict[str, float]:
    """Ratios of training, and the same of decoding."""

    def ratio(task: str, over: tuple[str, int], under: tuple[str, int]) -> float:
        names = (str(System(task, *over)), str(System(task, *under)))
        return statistics.median(ratios(turns, *names, lambda turn: turn.result))

    figures = {}
    for task, prefix in TASKS.items():
        figures |= {
            f"{prefix}one_busy_over_quiet": ratio(task, (OURS, 1), (OURS, 0)),
            f"{prefix}two_busy_over_quiet": ratio(task, (OURS, 2), (OURS, 0)),
            f"{prefix}quiet_over_spinning": ratio(task, (OURS, 0), (SPINNING, 0)),
            f"{prefix}two_busy_over_spinning": ratio(task, (OURS, 2), (SPINNING, 2)),
        }
    return figures


def main() -> None:
    defaults = {"rounds": 5, "seconds": 4.0, "threads": usable_cores(), "work": Path("build/benchmarks/beside")}
    given = arguments(__doc__, **captions("en", "de"), **defaults).parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    pairs = list(islice(ParallelCorpus.from_files(given.source, given.target), PAIRS))
    build_store(pairs, train_vocabularies(pairs, vocab_size=VOCAB), given.work / "train.arrow")
    systems = {str(system): system for system in (System(*each) for each in product(TASKS, WAYS, (0, 1, 2)))}
    with ExitStack() as stack:
        workers = {(task, way): Worker(task, way, given) for task, way in product(TASKS, WAYS)}
        for worker in workers.values():
            stack.callback(worker.close)
        turns_of: dict[str, Callable[[], float]] = {
            name: partial(turn_of, workers[system.task, system.waiting], system.busy_processes, given.seconds)
            for name, system in systems.items()
        }
        turns = list(rounds(turns_of, given.rounds, warmup=0, tell=tell))
    speeds = by_name(turns, lambda turn: turn.result)
    rows = [
        system._asdict()
        | {"target_tokens_per_second": round(statistics.median(speeds[name]), 1)}
        | {"lowest": round(min(speeds[name]), 1), "highest": round(max(speeds[name]), 1)}
        for name, system in systems.items()
    ]
    claim = (
        "Training the demo's teacher, and decoding with it, beside 0, 1 and 2 busy processes, by how OpenMP's threads "
        f"wait for each other: {given.threads} threads on {usable_cores()} cores, float32"
    )
    record("bench-beside", given, claim=claim, figures=figures_of(turns), rows=rows)


if __name__ == "__main__":
    execute(main)
