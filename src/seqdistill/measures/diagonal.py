"""Where a word's translation stands: near the diagonal, as near as the data say (Dyer et al. 2013, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MIN_TENSION, MAX_TENSION = 0.1, 14.0
_STEPS = 30
_TOLERANCE = 1e-9


class Masses(NamedTuple):
    """Expected links of all pairs: what the tension is fitted to.

    Args:
        distance: sum of the links' distances from the diagonal.
        by_shape: for (generating length, generated length), how much of each generated position is not NULL's.
    """

    distance: float
    by_shape: Mapping[tuple[int, int], Float[np.ndarray, " generated"]]


def distances(generating: int, generated: int) -> Float[np.ndarray, "generating generated"]:
    """|i/m - j/n| with positions from 1 (equation 1's -h)."""
    rows, columns = np.arange(1, generating + 1) / generating, np.arange(1, generated + 1) / generated
    return np.abs(rows[:, None] - columns)


def prior(
    generating: int, generated: int, *, tension: float, p0: float
) -> Float[np.ndarray, "generating generated"]:
    """Probability that a generated position comes from each generating one; a column sums to 1 - p0, NULL has p0."""
    weights = np.exp(-tension * distances(generating, generated))
    return (1 - p0) * weights / weights.sum(axis=0)


def fit_tension(masses: Masses, tension: float) -> float:
    """The tension that makes the expected links most probable, within MIN_TENSION and MAX_TENSION.

    The expected log-likelihood is concave in it; its derivative, expected minus actual distance, is followed by
    Newton's method, halving where that leaves the bracket. fast_align takes eight steps of fixed size instead, and
    compares with positions that NULL generated, too.
    """
    low, high = MIN_TENSION, MAX_TENSION
    for _ in range(_STEPS):
        excess, slope = _excess(masses, tension)
        low, high = (tension, high) if excess > 0 else (low, tension)
        following = tension + excess / slope if slope > 0 else (low + high) / 2
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - tension) < _TOLERANCE:
            break
        tension = following
    return tension


def _excess(masses: Masses, tension: float) -> tuple[float, float]:
    """How far the prior's mean distance exceeds the links', and how fast that falls with the tension (a variance)."""
    excess, slope = -masses.distance, 0.0
    for (generating, generated), mass in masses.by_shape.items():
        far = distances(generating, generated)
        weights = np.exp(-tension * far)
        weights /= weights.sum(axis=0)
        mean = (weights * far).sum(axis=0)
        excess += float(mass @ mean)
        slope += float(mass @ ((weights * far**2).sum(axis=0) - mean**2))
    return excess, slope
