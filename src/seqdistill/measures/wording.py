"""Statistics of a side's words: variety, length, repetitions; each with every sentence's influence on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.measures.bitext import Side
from seqdistill.measures.lexicon import sum_rows


class Ratio(NamedTuple):
    """A ratio of two sums over sentences, per sentence and in all.

    Args:
        sentences: each sentence's own ratio.
        influences: how much each sentence moves the whole, to first order; they sum to 0.
    """

    value: float
    sentences: Float[np.ndarray, " pairs"]
    influences: Float[np.ndarray, " pairs"]


def mean(values: Float[np.ndarray, " pairs"]) -> Ratio:
    """The mean over sentences; NaN is left out and counts for nothing."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0), defined.astype(np.float64))._replace(sentences=values)


def ratio(above: Float[np.ndarray, " pairs"], below: Float[np.ndarray, " pairs"]) -> Ratio:
    """Sum of one count over the sum of another; NaN for a sentence, or a corpus, where the other is 0."""
    total = below.sum()
    value = above.sum() / total if total else float("nan")
    own = np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
    # d(A/B) = (dA - (A/B) dB) / B for the sentence's share of both sums; these add up to 0.
    return Ratio(float(value), own, (above - value * below) / total if total else np.zeros(len(above)))


def type_token_ratio(side: Side) -> Ratio:
    """Different words over words. It falls as a corpus grows: compare corpora of the same lines.

    A sentence moves the number of types by those that only it has (jackknife).
    """
    pairs = np.repeat(np.arange(len(side.starts) - 1), side.lengths())
    # Tokens sorted by word, then sentence: the first of each run is one row for each word and sentence that has it.
    # A word with one row occurs in that sentence only.
    order = np.lexsort((pairs, side.ids))
    words, owners = side.ids[order], pairs[order]
    fresh = np.ones(len(words), dtype=bool)
    fresh[1:] = (np.diff(words) != 0) | (np.diff(owners) != 0)
    words, owners = words[fresh], owners[fresh]
    sentences = np.bincount(words, minlength=len(side.words))
    lengths = side.lengths().astype(np.float64)
    own = np.bincount(owners[sentences[words] == 1], minlength=len(lengths))
    value = len(side.words) / len(side.ids)
    moved = (own - value * lengths) / len(side.ids)
    return Ratio(value, np.bincount(owners, minlength=len(lengths)) / lengths, moved - moved.mean())


def repetitions(side: Side) -> Ratio:
    """Share of words that repeat the word before them in the sentence."""
    return ratio(_repeated(side).astype(np.float64), side.lengths().astype(np.float64))


def _repeated(side: Side) -> Int[np.ndarray, " pairs"]:
    same = np.zeros(len(side.ids), dtype=np.float64)
    # Compared across all sentences; the first word of each is then taken back, as it follows none.
    same[1:] = side.ids[1:] == side.ids[:-1]
    same[side.starts[:-1]] = 0
    return sum_rows(side.starts, same).astype(np.int64)
