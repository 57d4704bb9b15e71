"""Means by type and by token, against loops over words and by moving single sentences."""

import math
from collections import Counter

import numpy as np
import pytest

from seqdistill.measures.alignment import Alignment
from seqdistill.measures.complexity import BY_TOKEN, BY_TYPE
from seqdistill.measures.estimates import complexity_of, faithfulness_of
from seqdistill.measures.lexicon import LexicalTable, table_of_links
from seqdistill.measures.links import Links
from seqdistill.options import AlignerOptions

REAL = [("a b", "x y"), ("a c", "x z"), ("b a", "w x"), ("c c", "z w"), ("a", "w")]
DISTILLED = [("a b", "x y"), ("a c", "x z"), ("b a", "y x"), ("c c", "z z"), ("a", "x")]


def by_position(make_bitext, pairs, name) -> Alignment:
    """Every word is linked to the one at its place."""
    bitext = make_bitext(pairs, name)
    links = Links.from_lists([[(at, at) for at in range(len(source.split()))] for source, _ in pairs])
    return Alignment(bitext, AlignerOptions(), links, links, table_of_links(bitext, links, "by:hand"), (4.0, 4.0))


def counts_of(pairs, weights) -> dict[str, Counter]:
    rows: dict[str, Counter] = {}
    for (source, target), weight in zip(pairs, weights, strict=True):
        for one, other in zip(source.split(), target.split(), strict=True):
            rows.setdefault(one, Counter())[other] += weight
    return rows


def slow_complexity(pairs, weights, *, by_token: bool) -> float:
    rows = counts_of(pairs, weights)
    entropies, tokens = {}, {}
    for word, row in rows.items():
        tokens[word] = sum(row.values())
        entropies[word] = -sum(count / tokens[word] * math.log(count / tokens[word]) for count in row.values())
    if not by_token:
        return sum(entropies.values()) / len(entropies)
    return sum(entropies[word] * tokens[word] for word in rows) / sum(tokens.values())


def slow_faithfulness(pairs, others, weights, background, *, by_token: bool, smoothing: float) -> float:
    real, distilled = counts_of(pairs, weights), counts_of(others, weights)
    total = weight = 0.0
    for word, row in real.items():
        tokens = sum(row.values())
        own = 0.0
        for target, q in background.items():
            one = (1 - smoothing) * row[target] / tokens + smoothing * q
            other = (1 - smoothing) * distilled[word][target] / sum(distilled[word].values()) + smoothing * q
            own += one * math.log(one / other)
        total += own * (tokens if by_token else 1)
        weight += tokens if by_token else 1
    return total / weight


@pytest.mark.parametrize("weighting", [BY_TYPE, BY_TOKEN], ids=["by type", "by token"])
def test_complexity_is_the_slow_mean_and_moves_as_sentences_count_more(make_bitext, weighting):
    alignment = by_position(make_bitext, REAL, "real")
    found = complexity_of(alignment, alignment.table, weighting)
    once = [1.0] * len(REAL)
    value = slow_complexity(REAL, once, by_token=weighting.by_token)
    assert found.value == pytest.approx(value)
    for at in range(len(REAL)):
        more = [1 + 1e-6 * (number == at) for number in range(len(REAL))]
        moved = (slow_complexity(REAL, more, by_token=weighting.by_token) - value) / 1e-6
        assert found.influences[at] == pytest.approx(moved, abs=1e-4)
    assert found.influences.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("weighting", [BY_TYPE, BY_TOKEN], ids=["by type", "by token"])
def test_counted_complexity_moves_as_sentences_are_left_out(make_bitext, weighting):
    pairs = [*REAL, ("d a d", "q x r"), ("e", "x")]  # words of one sentence, with and without entropy
    alignment = by_position(make_bitext, pairs, "real")
    found = complexity_of(alignment, alignment.table, weighting, counted=True)
    without = [[*pairs[:at], *pairs[at + 1 :]] for at in range(len(pairs))]
    values = [slow_complexity(rows, [1.0] * len(rows), by_token=weighting.by_token) for rows in without]
    assert found.influences == pytest.approx(np.mean(values) - np.array(values))


def test_a_corpus_that_is_nothing_without_a_sentence(make_bitext):
    bitext = make_bitext([("a", "x"), ("b", "y")])
    links = Links.from_lists([[(0, 0)], []])
    alignment = Alignment(bitext, AlignerOptions(), links, links, table_of_links(bitext, links, ""), (4.0, 4.0))
    assert complexity_of(alignment, alignment.table, BY_TYPE, counted=True).influences.tolist() == [0, 0]


def zipf_sample(generator) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """300 lines of words as frequent as in text, so that half of the types occur once; two targets for each line."""
    chances = 1 / np.arange(2, 3002)
    rows = generator.choice(len(chances), size=(300, 8), p=chances / chances.sum())

    def line(row, usual):
        return " ".join(f"t{word}-{at}" for word, at in zip(row, generator.geometric(usual, size=8), strict=True))

    sources = [" ".join(f"s{word}" for word in row) for row in rows]
    return [(source, line(row, 0.8)) for source, row in zip(sources, rows, strict=True)], [
        (source, line(row, 0.9)) for source, row in zip(sources, rows, strict=True)
    ]


@pytest.mark.parametrize("weighting", [BY_TYPE, BY_TOKEN], ids=["by type", "by token"])
def test_intervals_of_counted_measures_are_as_wide_as_samples_differ(make_bitext, weighting):
    """Claimed by each of 40 disjoint samples, against their standard deviation: never much less, and what the jackknife
    is known to add in small samples more. On captions it was a fifth of that for C by type, and less than half for F,
    as long as a sentence with the only link of a word moved nothing."""
    generator = np.random.default_rng(5)
    values, claimed = [], []
    for _ in range(40):
        real, distilled = (by_position(make_bitext, pairs, "sample") for pairs in zipf_sample(generator))
        tables = distilled.table, real.table
        found = (
            complexity_of(real, real.table, weighting, counted=True),
            faithfulness_of(distilled, real, tables, weighting, smoothing=0.01, counted=True).figures,
        )
        values.append([one.value for one in found])
        claimed.append([np.sqrt(np.square(one.influences).sum()) for one in found])
    wider = np.mean(claimed, axis=0) / np.std(values, axis=0, ddof=1)
    assert (wider > 0.8).all() and (wider < 1.7).all()


def test_complexity_by_token_is_the_sum_over_sentences_by_words(make_bitext):
    alignment = by_position(make_bitext, REAL, "real")
    found = complexity_of(alignment, alignment.table, BY_TOKEN)
    assert found.value == pytest.approx(found.sentences.sum() / len(alignment.bitext.source.ids))


def faithfulness_and_slow(make_bitext, real_pairs, distilled_pairs, weighting, table=None):
    """Both ways of taking it; the slow one as a function of the lines' weights, with the background held: moving it is
    of second order in the smoothing, and no part of the influences."""
    real, distilled = by_position(make_bitext, real_pairs, "real"), by_position(make_bitext, distilled_pairs, "other")
    tables = table or distilled.table, real.table
    found = faithfulness_of(distilled, real, tables, weighting, smoothing=0.1)
    targets = [
        Counter(word for _, target in pairs for word in target.split()) for pairs in (real_pairs, distilled_pairs)
    ]
    background = {word: sum(row[word] / sum(row.values()) for row in targets) / 2 for word in targets[0] | targets[1]}

    def slow(weights):
        by_token = weighting.by_token
        return slow_faithfulness(real_pairs, distilled_pairs, weights, background, by_token=by_token, smoothing=0.1)

    return found, slow


@pytest.mark.parametrize("weighting", [BY_TYPE, BY_TOKEN], ids=["by type", "by token"])
def test_faithfulness_is_the_slow_mean_and_moves_as_lines_are_left_out(make_bitext, weighting):
    distilled = [*DISTILLED[:3], ("c c", "z x"), ("a", "w")]
    found, slow = faithfulness_and_slow(make_bitext, REAL * 100, distilled * 100, weighting)
    once = [1.0] * len(REAL) * 100
    value = slow(once)
    assert found.figures.value == pytest.approx(value)
    assert found.num_unseen == 0 and found.lines.tolist() == list(range(1, 501))
    moved = [value - slow([*once[:at], 0, *once[at + 1 :]]) for at in range(5)]
    assert found.figures.influences[:5] == pytest.approx(moved, rel=0.01, abs=2e-6)
    assert found.figures.influences == pytest.approx(list(found.figures.influences[:5]) * 100)


def test_a_line_moves_faithfulness_by_no_more_than_a_table_without_it(make_bitext):
    """The model's table hardly has the translation that the line's link stands for."""
    words = [("a", "x")] * 50
    distilled = [*words[:49], ("a", "y")]
    chances = np.array([1 - 1e-9, 1e-9])
    table = LexicalTable(
        ("a",), ("x", "y"), np.array([50]), np.array([49, 1]), np.array([0, 2]), np.array([0, 1]), chances, ""
    )
    found, _ = faithfulness_and_slow(make_bitext, [*words[:25], *[("a", "y")] * 25], distilled, BY_TYPE, table)
    assert np.abs(found.figures.influences).max() < 0.05


def test_a_word_without_a_row_counts_nothing():
    table = LexicalTable(
        ("a", "b"), ("x",), np.array([1, 9]), np.array([10]), np.array([0, 1, 1]), np.array([0]), np.array([1.0]), ""
    )
    assert BY_TYPE.weights(table).tolist() == BY_TOKEN.weights(table).tolist() == [1, 0]
