"""Complexity and faithfulness of a parallel corpus, from lexical tables (Zhou et al. 2020, sections 3.2 and 4.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.errors import UserError
from seqdistill.measures.bitext import Bitext, Side
from seqdistill.measures.lexicon import LexicalTable, sum_rows
from seqdistill.measures.links import Links

SMOOTHING = 0.01
"""Share of the background distribution in both sides of a divergence."""


class Weighting(NamedTuple):
    """Weight of a source word in a mean.

    Args:
        by_token: as often as it occurs; otherwise each word once, as in Zhou et al. 2020.
    """

    by_token: bool

    def weights(self, table: LexicalTable) -> Float[np.ndarray, " source_words"]:
        """Weight of each word; they sum to 1, and a word without a row has weight 0."""
        # A word without a row has no entropy: it is left out of the sum and of the count.
        counts = table.has_row() * (table.source_frequencies if self.by_token else 1)
        return counts / counts.sum()


BY_TYPE, BY_TOKEN = Weighting(by_token=False), Weighting(by_token=True)


class Faithfulness(NamedTuple):
    """F(d) and where it comes from.

    Args:
        value: mean over the real corpus' source words, in nats; lower is more faithful.
        divergences: of each source word of the real table.
        real_gradient: how a real table's entry changes its word's divergence.
        distilled_gradient: the same for the distilled table, but as the slope over a whole fall: by one occurrence of
            the source word, or to 0. The tangent is too steep: where the distilled table has almost nothing for a
            likely translation, it is a thousand times the change that a sentence can make.
        num_unseen: source words of the real table that the distilled one has no row for.
    """

    value: float
    divergences: Float[np.ndarray, " source_words"]
    real_gradient: Float[np.ndarray, " real_entries"]
    distilled_gradient: Float[np.ndarray, " distilled_entries"]
    num_unseen: int


def complexity(table: LexicalTable, weighting: Weighting = BY_TYPE) -> float:
    """C(d) = 1/|Vx| sum_x H(y | x), in nats: the conditional entropy of equation 3, word by word, and their mean.

    By token the mean is sum_x count(x) H(y | x) / sum_x count(x). Words without a row are left out of it.

    A word with two translations, 3/4 and 1/4, and one that is seen twice as often and has a single translation:

        >>> table = LexicalTable(
        ...     ("Bank", "der"), ("bank", "bench", "the"), np.array([4, 8]), np.array([3, 1, 8]),
        ...     starts=np.array([0, 2, 3]), targets=np.array([0, 1, 2]), probabilities=np.array([3 / 4, 1 / 4, 1]),
        ...     signature="by hand",
        ... )
        >>> round(float(table.entropies()[0]), 4)  # H(3/4, 1/4) = 3/4 ln 4/3 + 1/4 ln 4; the other one's is 0
        0.5623
        >>> round(complexity(table), 4), round(complexity(table, BY_TOKEN), 4)  # 0.5623 / 2 and 0.5623 * 4 / 12
        (0.2812, 0.1874)
    """
    return float(weighting.weights(table) @ table.entropies())


def faithfulness(
    real: LexicalTable, distilled: LexicalTable, weighting: Weighting = BY_TYPE, *, smoothing: float = SMOOTHING
) -> Faithfulness:
    """F(d) = 1/|Vx| sum_x KL(p_real(. | x) || p_distilled(. | x)), in nats, over words with a row in the real table
    (equation 4).

    Without smoothing the sum is infinite as soon as one real translation is missing in d. Both distributions are mixed
    with the same background q: p' = (1 - smoothing) p + smoothing q, where q is the mean of both corpora's target word
    frequencies, and positive for every word of either; p' = q for a source word that d does not have. So F is finite;
    it is 0 for a corpus with itself, which it would not be if one side alone were smoothed; and by convexity it never
    exceeds (1 - smoothing) times the unsmoothed divergence. A share, unlike counts added, works for a model's table as
    for a counted one. A translation missing in d costs about ln(1 / (smoothing q)): compare values of the same
    smoothing only.

    Raises:
        UserError: a smoothing that is not between 0 and 1.
    """
    if not 0 < smoothing < 1:
        raise UserError(f"smoothing = {smoothing}: expected a share between 0 and 1, such as {SMOOTHING}")
    words, real_number, distilled_number = _joined(real.target_words, distilled.target_words)
    background = np.zeros(len(words))
    # q is the mean of two distributions, whatever the sizes of the corpora.
    background[real_number] += real.target_frequencies / (2 * real.target_frequencies.sum())
    background[distilled_number] += distilled.target_frequencies / (2 * distilled.target_frequencies.sum())
    rows = _rows_in(real.source_words, distilled)
    divergences = np.zeros(len(real.source_words))
    gradients = np.zeros(len(real.targets)), np.zeros(len(distilled.targets))
    for block in real.blocks():
        merged = _merged(real, distilled, block, rows[block], (real_number, distilled_number), len(words))
        divergences[block] = _divergences(merged, background, smoothing, gradients)
    counted = real.has_row()
    divergences *= counted
    value = float(weighting.weights(real) @ divergences)
    return Faithfulness(value, divergences, *gradients, int((rows[counted] < 0).sum()))


class _Merged(NamedTuple):
    """Two tables' rows side by side: for each row the target words of either."""

    starts: np.ndarray
    targets: np.ndarray
    real: np.ndarray
    distilled: np.ndarray
    real_at: np.ndarray
    real_entries: np.ndarray
    distilled_at: np.ndarray
    distilled_entries: np.ndarray
    distilled_frequencies: np.ndarray
    seen: np.ndarray


def _merged(
    real: LexicalTable,
    distilled: LexicalTable,
    block: slice,
    rows: np.ndarray,
    numbers: tuple[np.ndarray, np.ndarray],
    width: int,
) -> _Merged:
    """Args: `rows`: the distilled row of each real one, -1 for none; `numbers`: target words in a joint vocabulary."""
    # All rows at once: an entry's key is row of the block * joint vocabulary + target word. The different keys of both
    # tables, sorted, are the rows of the union, one after the other; `*_at` is the place of each table's entry there.
    # Rows of the distilled table lie anywhere in it: their entries are gathered run by run (starts - offsets + range).
    real_entries = np.arange(*real.starts[[block.start, block.stop]])
    real_rows = np.repeat(np.arange(len(rows)), np.diff(real.starts[block.start : block.stop + 1]))
    present = np.flatnonzero(rows >= 0)
    lengths = np.diff(distilled.starts)[rows[present]]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    distilled_entries = np.repeat(distilled.starts[rows[present]] - offsets[:-1], lengths) + np.arange(offsets[-1])
    distilled_rows = np.repeat(present, lengths)
    keys = np.concatenate(
        [
            real_rows * np.int64(width) + numbers[0][real.targets[real_entries]],
            distilled_rows * np.int64(width) + numbers[1][distilled.targets[distilled_entries]],
        ]
    )
    joint, at = np.unique(keys, return_inverse=True)
    real_at, distilled_at = at[: len(real_entries)], at[len(real_entries) :]
    real_chances, distilled_chances = np.zeros(len(joint)), np.zeros(len(joint))
    real_chances[real_at] = real.probabilities[real_entries]
    distilled_chances[distilled_at] = distilled.probabilities[distilled_entries]
    starts = np.searchsorted(joint, np.arange(len(rows) + 1) * np.int64(width))
    return _Merged(
        starts,
        joint % width,
        real_chances,
        distilled_chances,
        real_at,
        real_entries,
        distilled_at,
        distilled_entries,
        np.repeat(distilled.source_frequencies[rows[present]], lengths),
        rows >= 0,
    )


def _divergences(
    merged: _Merged, background: np.ndarray, smoothing: float, gradients: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """KL of each row; where neither table has an entry, both sides are the background's share and add nothing, unless
    the row is unseen, where they differ by the factor `smoothing`. Writes the gradients of the block's entries."""
    # p' = (1 - s) p + s q on both sides, q alone where the row is unseen. Outside the union p' = s q for both, which
    # adds 0; for an unseen row s q against q adds s q ln s for each such word, in all s ln s (1 - what the union
    # covers).
    seen = np.repeat(merged.seen, np.diff(merged.starts))
    chances = background[merged.targets]
    one = (1 - smoothing) * merged.real + smoothing * chances
    other = np.where(seen, (1 - smoothing) * merged.distilled + smoothing * chances, chances)
    ratio = np.log(one / other)
    covered = sum_rows(merged.starts, chances)
    uncovered = np.where(merged.seen, 0.0, smoothing * np.log(smoothing) * (1 - np.minimum(covered, 1.0)))
    gradients[0][merged.real_entries] = ((1 - smoothing) * (ratio + 1))[merged.real_at]
    # By a real entry: d/dp' [p' ln(p'/r')] = ln(p'/r') + 1. By a distilled one -p'/r', but over the whole fall of one
    # occurrence, p' (ln r'_after - ln r') per 1 / occurrences: where r' is small, the tangent is far too steep.
    at, occurrences = merged.distilled_at, merged.distilled_frequencies
    fallen = np.maximum(merged.distilled[at] - 1 / occurrences, 0)
    fallen = (1 - smoothing) * fallen + smoothing * chances[at]
    gradients[1][merged.distilled_entries] = one[at] * np.log(fallen / other[at]) * occurrences
    return sum_rows(merged.starts, one * ratio) + uncovered


def sentence_values(side: Side, by_word: Float[np.ndarray, " words"]) -> Float[np.ndarray, " pairs"]:
    """Sum of a value over the words of each sentence: per-sentence complexity or faithfulness (figure 7)."""
    return sum_rows(side.starts, by_word[side.ids])


def influences(
    table: LexicalTable,
    gradient: Float[np.ndarray, " entries"],
    bitext: Bitext,
    links: Links,
    weights: Float[np.ndarray, " source_words"],
) -> Float[np.ndarray, " pairs"]:
    """First-order influence of each sentence on a weighted mean over source words (infinitesimal jackknife).

    The sentence's links are counts in the table's rows: one more link of x to y moves p(. | x) by
    (1[y] - p(. | x)) / N_x, with N_x the links of x in the corpus. With a model's table links stand for its expected
    counts. Values sum to about 0 over the corpus.

    Args:
        gradient: how an entry's probability changes its word's value.
        weights: of the table's source words.
    """
    # One more link x -> y adds g[y] - sum_y' p(y'|x) g[y'], over N_x, to the value of x; the mean is subtracted so that
    # all links of the corpus together move nothing.
    sources = links.words(bitext.source, of_source=True)
    entries = table.entries_of(sources, links.words(bitext.target, of_source=False))
    means = np.zeros(len(table.source_words))
    for block in table.blocks():
        own = table.entries(block)
        means[block] = table.sum_rows(table.probabilities[own] * gradient[own], block)
    num_links = np.bincount(sources, minlength=len(table.source_words))
    moved = (gradient[entries] - means[sources]) / num_links[sources] * weights[sources]
    return sum_rows(links.starts, moved)


def entropy_gradient(table: LexicalTable) -> Float[np.ndarray, " entries"]:
    """Derivative of a word's entropy by an entry's probability: -ln p, up to a constant."""
    # d/dp (-p ln p) = -ln p - 1; the same constant for all entries of a row moves nothing.
    return -np.log(np.where(table.probabilities > 0, table.probabilities, 1.0))


def _joined(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """A joint vocabulary, and the number of each side's words in it."""
    words = sorted({*one, *other})
    number = {word: at for at, word in enumerate(words)}
    ours, theirs = (np.array([number[word] for word in side], dtype=np.int64) for side in (one, other))
    return words, ours, theirs


def _rows_in(words: tuple[str, ...], table: LexicalTable) -> Int[np.ndarray, " words"]:
    """The row of each word in another table; -1 where it has none."""
    filled = table.has_row()
    number = {word: at for at, word in enumerate(table.source_words) if filled[at]}
    return np.array([number.get(word, -1) for word in words], dtype=np.int64)
