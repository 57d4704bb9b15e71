"""The clock of every script: systems take turns, so that what else the machine does slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Turn(NamedTuple, Generic[T]):
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
    tell: Callable[[str], object] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Turn[T]]:
    """Runs every task once a round, beginning each round with another one; rounds to warm up are run and not yielded.

    Args:
        tell: takes a line about each turn, such as `print`.
    """
    names = list(tasks)
    for at in range(-warmup, number):
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
