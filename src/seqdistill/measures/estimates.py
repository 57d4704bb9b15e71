"""Complexity and faithfulness of an aligned corpus as means over its source words: by type, as published, or by token.

By type every word of the vocabulary counts once. In a small corpus most of them occur once, and the entropy of a word
that was seen once says more about the aligner than about the text; by token a word counts as often as it occurs.

The influence of a sentence is computed to first order for a model's table, whose parameters one sentence hardly moves.
A table counted on links has words with a single link, which are gone without their sentence; see `left_out`. In both
cases the links are taken as given: that other sentences would train another aligner is left out of account.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.measures.alignment import Alignment
from seqdistill.measures.bitext import Side
from seqdistill.measures.complexity import (
    Weighting,
    complexity,
    entropy_gradient,
    faithfulness,
    influences,
    sentence_values,
)
from seqdistill.measures.left_out import complexity_moved, lost_with
from seqdistill.measures.lexicon import LexicalTable
from seqdistill.measures.wording import Ratio


class FaithfulnessOf(NamedTuple):
    """Faithfulness of a corpus.

    Args:
        figures: of a sentence, the sum over its words; influences by line, since a line's real and distilled target
            are drawn together.
        lines: those of the influences.
        num_unseen: source words of the real corpus that the distilled one has no row for.
    """

    figures: Ratio
    lines: Int[np.ndarray, " lines"]
    num_unseen: int


def complexity_of(alignment: Alignment, table: LexicalTable, weighting: Weighting, *, counted: bool = False) -> Ratio:
    """Complexity; of a sentence, the sum over its words.

    Args:
        counted: whether the table is of counts of the forward links, not of a model.
    """
    bitext, links, entropies = alignment.bitext, alignment.forward, table.entropies()
    value = complexity(table, weighting)
    if counted:
        moved = complexity_moved(table, bitext, links, by_token=weighting.by_token)
        moved -= moved.mean()
    else:
        moved = influences(table, entropy_gradient(table), bitext, links, weighting.weights(table))
        moved += _moved_by_words(weighting, table, bitext.source, entropies - value)
    return Ratio(value, sentence_values(bitext.source, entropies), moved)


def faithfulness_of(
    distilled: Alignment,
    real: Alignment,
    tables: tuple[LexicalTable, LexicalTable],
    weighting: Weighting,
    *,
    smoothing: float,
    counted: bool = False,
) -> FaithfulnessOf:
    """Faithfulness of a distilled corpus, a mean over the words of the real one.

    Args:
        tables: the distilled and the real one.
        counted: whether they are of counts of the forward links, not of models.
    """
    table, real_table = tables
    found = faithfulness(real_table, table, weighting, smoothing=smoothing)
    value, weights = found.value, weighting.weights(real_table)
    number = {word: at for at, word in enumerate(real_table.source_words)}
    # The real table's number of each word of the distilled one; -1 where it has none, and then nothing is moved.
    at = np.array([number.get(word, -1) for word in table.source_words])
    moved = np.zeros(real.bitext.num_lines)
    # By line, from 1: a line drawn again brings its real and its distilled target, and both corpora move F.
    moved[real.bitext.lines - 1] += influences(
        real_table, found.real_gradient, real.bitext, real.forward, weights
    ) + _moved_by_words(weighting, real_table, real.bitext.source, found.divergences - value)
    moved[distilled.bitext.lines - 1] += influences(
        table, found.distilled_gradient, distilled.bitext, distilled.forward, np.where(at >= 0, weights[at], 0.0)
    )
    if counted and not weighting.by_token:
        lost = lost_with(real.forward, real.bitext, (found.divergences - value) * weights)
        moved[real.bitext.lines - 1] += lost - lost.mean()
    lines = np.union1d(real.bitext.lines, distilled.bitext.lines)
    sentences = sentence_values(distilled.bitext.source, np.where(at >= 0, found.divergences[at], 0.0))
    return FaithfulnessOf(Ratio(value, sentences, moved[lines - 1]), lines, found.num_unseen)


def _moved_by_words(
    weighting: Weighting, table: LexicalTable, side: Side, above: Float[np.ndarray, " source_words"]
) -> Float[np.ndarray, " pairs"]:
    """How much each sentence moves the mean by the words it has; `above`: each word's value less the mean."""
    if not weighting.by_token:
        return np.zeros(len(side.starts) - 1)
    # A token of x adds its value less the mean, over all tokens: the derivative of a weighted mean by a weight.
    return sentence_values(side, above * table.has_row()) / (table.source_frequencies * table.has_row()).sum()
