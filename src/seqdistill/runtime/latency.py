"""The clock of every measurement of speed: systems take turns, so that what else the machine does slows all alike.

Imports nothing but Python's own modules: a process that measures itself may import it.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

STATUS = Path("/proc/self/status")
"""What Linux tells of this process."""


@dataclass(frozen=True)
class Turn(Generic[T]):
    """One system's turn in one round, counted from 1."""

    name: str
    round: int
    seconds: float
    result: T


def rounds(
    tasks: Mapping[str, Callable[[], T]],
    number: int,
    *,
    warmup: int = 1,
    done: int = 0,
    tell: Callable[[str], object] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Turn[T]]:
    """Runs every task once a round, beginning each round with another one; rounds to warm up are run and not yielded.

    Args:
        done: rounds of an earlier run, which are not run again.
        tell: takes a line about each turn, such as `print`.
    """
    names = list(tasks)
    for at in (*range(-warmup, 0), *range(done, number)):
        first = at % len(names)
        for name in [*names[first:], *names[:first]]:
            began = clock()
            result = tasks[name]()
            seconds = clock() - began
            tell(f"round {at + 1} of {number}: {name}: {seconds:.2f} s" + (" (warming up)" if at < 0 else ""))
            if at >= 0:
                yield Turn(name, at + 1, seconds, result)


def _seconds(turn: Turn) -> float:
    return turn.seconds


def by_name(turns: Iterable[Turn[T]], value: Callable[[Turn[T]], float] = _seconds) -> dict[str, list[float]]:
    """Values of each system, round by round."""
    found: dict[str, list[float]] = {}
    for turn in turns:
        found.setdefault(turn.name, []).append(value(turn))
    return found


def medians(turns: Iterable[Turn[T]], value: Callable[[Turn[T]], float] = _seconds) -> dict[str, float]:
    """Median over rounds for each system."""
    return {name: statistics.median(values) for name, values in by_name(turns, value).items()}


def ratios(turns: Iterable[Turn[T]], one: str, other: str, value: Callable[[Turn[T]], float] = _seconds) -> list[float]:
    """One system's value over the other's in the same round, for each round."""
    values = by_name(turns, value)
    return [first / second for first, second in zip(values[one], values[other], strict=True)]


class Timed(NamedTuple):
    """What a system did in one turn."""

    milliseconds: Sequence[float]
    """Of each sentence that it translated by itself."""
    sentences_per_second: float
    """Of the whole text, in batches."""

    @property
    def median(self) -> float:
        """Milliseconds of a sentence by itself."""
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        """Milliseconds that 95 % of the sentences do not exceed, interpolated between two of them."""
        if len(self.milliseconds) == 1:
            return self.milliseconds[0]
        return statistics.quantiles(self.milliseconds, n=20, method="inclusive")[-1]


class Spread(NamedTuple):
    """A value in several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median of the rounds, the lowest and the highest."""
    return Spread(statistics.median(values), min(values), max(values))


def one_by_one(
    decode: Callable[[list[str]], object],
    lines: Iterable[str],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Milliseconds of each line when it is decoded by itself."""
    times = []
    for line in lines:
        began = clock()
        decode([line])
        times.append(1000 * (clock() - began))
    return times


def evenly_spread(count: int, number: int) -> list[int]:
    """At most `number` of the places 0 to count - 1, about as far from each other.

    >>> evenly_spread(10, 3), evenly_spread(2, 5)
    ([1, 5, 8], [0, 1])
    """
    number = min(count, number)
    return [(2 * k + 1) * count // (2 * number) for k in range(number)]


def peak_mb() -> float:
    """Most memory that this process had resident, in MB of 10^6 bytes.

    Where the system tells, not from getrusage, which also counts what the process was before it became this program.
    """
    if STATUS.exists():
        return int(STATUS.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6  # in bytes on macOS, elsewhere in KiB
