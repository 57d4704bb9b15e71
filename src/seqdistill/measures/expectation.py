"""Maximising expected counts: from counts to probabilities, plainly or by variational Bayes, in place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_SLICE = 1 << 20
_SHIFT = 6


def maximise(
    counts: Float[np.ndarray, " entries"],
    given: Int[np.ndarray, " entries"],
    num_given: int,
    *,
    alpha: float,
    out: Float[np.ndarray, " entries"],
) -> None:
    """Writes p(other word | given word) of each entry to `out`.

    With alpha above 0 it is variational Bayes under a symmetric Dirichlet prior over the entries of a row
    (Dyer et al. 2013, section 2.1): exp(digamma(count + alpha) - digamma(sum of a row)), and rows sum to less than 1.

    Args:
        given: for each entry the word that its row is of, below `num_given`.
        alpha: of the prior; 0 maximises likelihood.

    Counts 3 and 1 of one word, 2 of another; a prior takes most from what is rare:

        >>> counts, given, out = np.array([3.0, 1.0, 2.0]), np.array([0, 0, 1]), np.zeros(3)
        >>> maximise(counts, given, 2, alpha=0.0, out=out); out.tolist()
        [0.75, 0.25, 1.0]
        >>> maximise(counts, given, 2, alpha=0.01, out=out); out.round(2).tolist()
        [0.72, 0.16, 1.0]
    """
    totals = np.zeros(num_given)
    for part in slices(len(counts)):
        totals += np.bincount(given[part], weights=counts[part] + alpha, minlength=num_given)
    # A word that nothing was counted for: 0 / 1, not 0 / 0.
    normalisers = digamma(np.where(totals > 0, totals, 1.0)) if alpha else np.where(totals > 0, totals, 1.0)
    for part in slices(len(counts)):
        own = normalisers[given[part]]
        out[part] = np.exp(digamma(counts[part] + alpha) - own) if alpha else counts[part] / own


def digamma(x: Float[np.ndarray, " numbers"]) -> Float[np.ndarray, " numbers"]:
    """Derivative of ln gamma for x > 0: shifted up by recurrence, then its asymptotic series (error below 1e-10)."""
    # digamma(x) = digamma(x + 1) - 1 / x, six times; at x + 6 the series' first five terms are enough.
    shift = np.zeros_like(x)
    for step in range(_SHIFT):
        shift += 1 / (x + step)
    shifted = x + _SHIFT
    square = 1 / shifted**2
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return np.log(shifted) - 0.5 / shifted - series - shift


def slices(length: int) -> list[slice]:
    """Pieces of an array that is too long for temporary copies of it."""
    return [slice(start, min(start + _SLICE, length)) for start in range(0, length, _SLICE)]
