"""Complexity and faithfulness without each sentence (leave one out), where tables are counted on links.

In a table of counts a word with one link has no entropy and no slope: to first order the sentence that holds it moves
nothing, though without that sentence the word is gone from the mean. So sentences are left out outright (the jackknife;
Efron and Stein 1981), which costs no more than going through the links once: a sentence touches only its own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.measures.bitext import Bitext, Side
from seqdistill.measures.complexity import sentence_values
from seqdistill.measures.lexicon import LexicalTable, sum_rows
from seqdistill.measures.links import Links

_BLOCK_PAIRS = 500_000


class _Touched(NamedTuple):
    """The source words that sentences of a block have links of: a row for each sentence and word.

    Args:
        pairs: the sentence, ascending.
        words: the source word.
        links: how many links of the word remain in the corpus without the sentence.
        entropies: of the word's row in the table of those, nats; 0 where none remain.
    """

    pairs: Int[np.ndarray, " touched"]
    words: Int[np.ndarray, " touched"]
    links: Int[np.ndarray, " touched"]
    entropies: Float[np.ndarray, " touched"]


def complexity_moved(
    table: LexicalTable, bitext: Bitext, links: Links, *, by_token: bool
) -> Float[np.ndarray, " pairs"]:
    """Complexity minus complexity without each sentence, exactly, in nats; 0 where no link would be left.

    Args:
        table: counted on these links.
        by_token: words count as often as they occur; otherwise each word that has a link once.
    """
    side, entropies, filled = bitext.source, table.entropies(), table.has_row()
    weights = filled * (table.source_frequencies * 1.0 if by_token else 1.0)
    above, below = np.full(len(bitext), weights @ entropies), np.full(len(bitext), weights.sum())
    if by_token:
        # The mean is above / below. Without a sentence its own tokens are gone from both, and then words that it
        # touches, as far as they occur elsewhere, have other entropies, or no row any more.
        above -= sentence_values(side, entropies)
        below -= sentence_values(side, filled * 1.0)
    for touched in _touched(table, bitext, links):
        words = touched.words
        left = weights[words] - (_occurrences(side, touched) if by_token else 0)
        np.add.at(above, touched.pairs, left * (touched.entropies - entropies[words]))
        np.add.at(below, touched.pairs, -left * (touched.links == 0))
    value = weights @ entropies / weights.sum()
    return np.where(below > 0, value - above / np.where(below > 0, below, 1.0), 0.0)


def lost_with(links: Links, bitext: Bitext, values: Float[np.ndarray, " source_words"]) -> Float[np.ndarray, " pairs"]:
    """Sum of a value over the source words that have links in this sentence only."""
    sources, pairs = links.words(bitext.source, of_source=True), links.pairs()
    # Of several assignments to one place the last one stays: `last` is the last pair of each word, and backwards the
    # first one. Where they are the same, the word has links in one sentence only.
    first, last = np.full(len(values), -1), np.full(len(values), -1)
    first[sources[::-1]] = pairs[::-1]
    last[sources] = pairs
    alone = np.flatnonzero((first == last) & (last >= 0))
    lost = np.zeros(len(bitext))
    np.add.at(lost, last[alone], values[alone])
    return lost


def _touched(table: LexicalTable, bitext: Bitext, links: Links) -> Iterator[_Touched]:
    """By blocks of sentences, so that memory does not grow with the corpus.

    A row of counts n_1, n_2, ... with the sum N has the entropy ln N - (sum_i n_i ln n_i) / N. A sentence that takes
    t_i of them changes only these terms of the sum, so it costs its own links to know the entropy without it. For a
    word linked 3 times to x and once to y, a sentence with one of its links to x leaves (2, 1): ln 3 - 2 ln 2 / 3 =
    0.6365.
    """
    num_links = np.bincount(links.words(bitext.source, of_source=True), minlength=len(table.source_words))
    rows = np.repeat(np.arange(len(table.source_words)), np.diff(table.starts))
    counts = np.rint(table.probabilities * num_links[rows])
    sums = sum_rows(table.starts, _x_log_x(counts))
    for start in range(0, len(bitext), _BLOCK_PAIRS):
        stop = min(start + _BLOCK_PAIRS, len(bitext))
        own = slice(links.starts[start], links.starts[stop])
        part = Links(links.starts[start : stop + 1] - links.starts[start], links.source[own], links.target[own])
        source, target = (
            side._replace(starts=side.starts[start : stop + 1]) for side in (bitext.source, bitext.target)
        )
        entries = table.entries_of(part.words(source, of_source=True), part.words(target, of_source=False))
        # One number for sentence and entry; its count is t_i, the links that the sentence takes from the entry.
        keys = part.pairs() * np.int64(len(rows)) + entries
        keys, taken = np.unique(keys, return_counts=True)
        pairs, entries = np.divmod(keys, len(rows))
        words = rows[entries]
        # One row a sentence and entry, sorted by both, and an entry's number rises with its source word: the rows of a
        # sentence and word are a run, which begins where either changes.
        begins = np.flatnonzero(np.diff(pairs, prepend=-1) | np.diff(words, prepend=-1))
        if not len(begins):
            continue
        fall = _x_log_x(counts[entries] - taken) - _x_log_x(counts[entries])
        words = words[begins]
        left = num_links[words] - np.add.reduceat(taken, begins)
        remaining = np.maximum(left, 1)
        # H = ln N - (sum_i n_i ln n_i) / N of what remains; `fall` is the change of the sum by the entries taken.
        entropies = np.log(remaining) - (sums[words] + np.add.reduceat(fall, begins)) / remaining
        yield _Touched(pairs[begins] + start, words, left, np.where(left > 0, np.maximum(entropies, 0.0), 0.0))


def _occurrences(side: Side, touched: _Touched) -> Int[np.ndarray, " touched"]:
    """How often each touched word occurs in its sentence."""
    first, last = touched.pairs[0], touched.pairs[-1]
    own = slice(side.starts[first], side.starts[last + 1])
    pairs = np.repeat(np.arange(first, last + 1), side.lengths()[first : last + 1])
    width = np.int64(len(side.words))
    keys, counts = np.unique(pairs * width + side.ids[own], return_counts=True)
    # A word with a link in a sentence occurs in it, so every key is found.
    return counts[np.searchsorted(keys, touched.pairs * width + touched.words)]


def _x_log_x(counts: np.ndarray) -> np.ndarray:
    return counts * np.log(np.where(counts > 0, counts, 1.0))
