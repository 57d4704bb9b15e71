"""Intervals of measures by resampling sentences (Efron 1979), from the influence of each sentence on the value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqdistill.errors import UserError

NUM_SAMPLES, SEED = 1000, 12345
MAX_UNITS = 20_000
"""More sentences than that are drawn in this many parts of about equal size."""
_CHUNK_NUMBERS = 4_000_000


class Interval(NamedTuple):
    """Holds 95 % of the resampled values."""

    low: float
    high: float


def resampled_interval(
    value: float, influences: Float[np.ndarray, " pairs"], *, num_samples: int = NUM_SAMPLES, seed: int = SEED
) -> Interval:
    """The value, moved by sentences drawn with replacement: those drawn twice count twice, those not drawn nothing.

    The measure is not computed again for each sample but moved along its influences: exact for means, first order for
    ratios and entropies. Resampling entropies or types outright would be biased, as a sample has fewer words.

    Raises:
        UserError: less than two sentences, or less than 40 samples.
    """
    # A sample draws n of n units: its value is the value, less what all units add, plus what those drawn add.
    # Influences that sum to 0 leave the mean of the samples at the value.
    check_resampling(len(influences), num_samples)
    parts = np.array_split(influences, MAX_UNITS) if len(influences) > MAX_UNITS else None
    units = np.array([part.sum() for part in parts]) if parts else influences
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_NUMBERS // len(units))
    moved = [
        # (samples, units) -> (samples): each row draws n of n units, with replacement.
        units[generator.integers(len(units), size=(min(chunk, num_samples - start), len(units)))].sum(axis=1)
        for start in range(0, num_samples, chunk)
    ]
    low, high = np.quantile(value + np.concatenate(moved) - units.sum(), [0.025, 0.975])
    return Interval(float(low), float(high))


def check_resampling(num_sentences: int, num_samples: int) -> None:
    """Raises UserError where resampling says nothing."""
    if num_sentences < 2:
        raise UserError(
            f"{num_sentences} sentence pair: intervals resample sentences and need at least 2; a corpus worth "
            "measuring has thousands"
        )
    if num_samples < 40:
        raise UserError(f"{num_samples} resamples: a 95 % interval needs at least 40; {NUM_SAMPLES:,} is usual")
