"""The clock of measurements: percentiles as numpy has them, turns that go on where they were cut off, peak memory."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from seqdistill.runtime.latency import Spread, Timed, evenly_spread, one_by_one, rounds, spread


class Clock:
    """Stands still but for what decoding adds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def decode(self, lines: list[str]) -> None:
        """A hundredth of a second a word."""
        self.now += 0.01 * sum(len(line.split()) for line in lines)


def test_a_sentence_is_timed_by_itself() -> None:
    clock = Clock()
    assert one_by_one(clock.decode, ["a", "a b c", "a b"], clock=clock) == pytest.approx([10, 30, 20])


@pytest.mark.parametrize("count", [1, 2, 3, 20, 101])
def test_median_and_95th_percentile_are_numpys(count: int) -> None:
    chance = random.Random(count)
    times = [chance.lognormvariate(0, 1) for _ in range(count)]
    timed = Timed(times, 1.0)
    assert timed.median == pytest.approx(np.median(times))
    assert timed.p95 == pytest.approx(np.percentile(times, 95))


def test_a_spread_is_over_rounds() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_turns_go_on_after_whole_rounds_in_the_same_order() -> None:
    tasks = {name: lambda name=name: name for name in "abc"}
    whole = [(turn.round, turn.name) for turn in rounds(tasks, 5, warmup=0)]
    begun = [(turn.round, turn.name) for turn in rounds(tasks, 2, warmup=0)]
    rest = [(turn.round, turn.name) for turn in rounds(tasks, 5, warmup=0, done=2)]
    assert begun + rest == whole
    assert [name for number, name in whole if number in (1, 2)] == ["a", "b", "c", "b", "c", "a"]


@pytest.mark.parametrize(("count", "number"), [(1, 1), (5, 5), (5, 9), (1000, 100), (7, 3), (100, 99)])
def test_places_are_spread_evenly(count: int, number: int) -> None:
    places = evenly_spread(count, number)
    assert len(places) == min(count, number) == len(set(places)) and set(places) <= set(range(count))
    steps = np.diff([-0.5, *places, count - 0.5])
    assert max(steps[1:-1], default=0) - min(steps[1:-1], default=0) <= 1
    assert abs(steps[0] - steps[-1]) <= 1, "as far from one end as from the other"


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_process_that_measures_memory_has_imported_nothing_large() -> None:
    large = {"torch", "numpy", "pydantic", "pyarrow", "ctranslate2", "sacrebleu", "matplotlib", "rich"}
    loaded = python("import sys, seqdistill.runtime.one_system; print(*sys.modules)").split()
    assert not large & set(loaded)


def test_peak_memory_counts_what_was_given_back() -> None:
    code = "before = peak_mb(); large = b'x' * 200_000_000; del large; print(before, peak_mb())"
    before, after = map(float, python(f"from seqdistill.runtime.latency import peak_mb; {code}").split())
    assert before < 60 and 195 < after - before < 260
