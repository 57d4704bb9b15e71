"""Everything about one HMM by going through all sequences of states, for tests; plain Python, no recursions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from seqdistill.studies.hmm import HMMs

Path = tuple[int, ...]


def all_paths(model: HMMs, length: int) -> Iterator[Path]:
    return product(range(model.initial.shape[1]), repeat=length)


def joint(model: HMMs, which: int, source: Sequence[int], path: Path) -> float:
    """p(x, y) of the HMM number `which`."""
    p = float(model.initial[which, path[0]]) * float(model.emission[which, path[0], source[0]])
    for before, state, symbol in zip(path, path[1:], source[1:], strict=False):
        p *= float(model.transition[which, before, state]) * float(model.emission[which, state, symbol])
    return p


def posterior_of_paths(model: HMMs, which: int, source: Sequence[int]) -> dict[Path, float]:
    """p(y | x) of every sequence of states."""
    joints = {path: joint(model, which, source, path) for path in all_paths(model, len(source))}
    total = math.fsum(joints.values())
    return {path: p / total for path, p in joints.items()}


def expected_token_accuracy(path: Path, posterior: dict[Path, float]) -> float:
    same = [p * sum(a == b for a, b in zip(path, other, strict=True)) for other, p in posterior.items()]
    return math.fsum(same) / len(path)
