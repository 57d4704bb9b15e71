"""Where a word's translation stands: near the diagonal, as near as the data say (Dyer et al. 2013, section 2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from seqdistill.options.measuring import MAX_TENSION, MIN_TENSION

_STEPS, _STEP = 8, 20.0


def distances(generating: int, generated: int) -> Float[np.ndarray, "generating generated"]:
    """|i/m - j/n| with positions from 1 (Dyer et al. 2013, equation 1: its -h)."""
    rows, columns = np.arange(1, generating + 1) / generating, np.arange(1, generated + 1) / generated
    return np.abs(rows[:, None] - columns)  # (generating, generated)


def prior(generating: int, generated: int, *, tension: float, p0: float) -> Float[np.ndarray, "generating generated"]:
    """Probability that a generated position comes from each generating one; a column sums to 1 - p0, NULL has p0.

    Of two words each, one step off the diagonal is a distance of 1/2, e^-2 as probable at a tension of 4:

        >>> prior(2, 2, tension=4.0, p0=0.08).round(2).tolist()
        [[0.81, 0.11], [0.11, 0.81]]
    """
    weights = np.exp(-tension * distances(generating, generated))
    return (1 - p0) * weights / weights.sum(axis=0)


def fit_tension(distance: float, shapes: Mapping[tuple[int, int], int], tension: float) -> float:
    """The tension moved towards the one under which links are as far from the diagonal as they are expected to be.

    As fast_align does it: eight steps of 20 times the difference of mean distances, within MIN_TENSION and
    MAX_TENSION, words of NULL counting as links of distance 0. But fast_align's derivative swaps the two lengths in one
    place, so its fit ends near 8 on captions. With the right derivative, used here, the tension rises to 13 or 14, and
    texts with gold links are aligned worse than at a tension of 4. So nothing is fitted unless asked for.

    Args:
        distance: mean over all generated words of their link's expected distance.
        shapes: number of pairs by (generating length, generated length).
    """
    # The log-likelihood's derivative by the tension is the prior's mean distance less the expected one: it is climbed.
    num_words = sum(count * generated for (_, generated), count in shapes.items())
    for _ in range(_STEPS):
        total = sum(count * _mean_distances(*shape, tension) for shape, count in shapes.items())
        tension = min(max(tension + _STEP * (total / num_words - distance), MIN_TENSION), MAX_TENSION)
    return tension


def _mean_distances(generating: int, generated: int, tension: float) -> float:
    """The prior's mean distance at each generated position, summed over positions; NULL left out."""
    far = distances(generating, generated)
    weights = np.exp(-tension * far)
    return float(((weights * far).sum(axis=0) / weights.sum(axis=0)).sum())
