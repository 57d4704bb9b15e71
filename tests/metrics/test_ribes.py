"""RIBES against the official program's values, and by hand."""

import math

import pytest

from seqdistill.metrics.ribes import aligned_positions, normalized_tau, ribes
from seqdistill.metrics.scores import create_metric
from seqdistill.options import MetricOptions


@pytest.mark.parametrize(("system", "corpus"), [("sys1", 0.805569), ("sys2", 0.803848)])
def test_official_values_line_for_line(ted, system, corpus):
    metric = create_metric("ribes")
    hypotheses, references = ted[f"{system}.en"], ted["ref.en"]
    values = [f"{value:.6f}" for value in metric.sentences(hypotheses, references)]
    official = ted[f"{system}.ribes"]
    assert len(official) == 2445
    assert [row for row in zip(values, official, strict=True) if row[0] != row[1]] == []
    assert round(metric.corpus(hypotheses, references).value, 6) == corpus


def test_reversed_order_by_hand():
    """Three of four words placed, at 2, 1, 0: no ascending pair."""
    assert aligned_positions(["c", "b", "a", "x"], ["a", "b", "c"]) == [2, 1, 0]
    assert ribes(["c", "b", "a", "x"], ["a", "b", "c"]) == 0


def test_one_swap_by_hand():
    """Positions 1 0 2 3: five of six pairs ascend; all words match; brevity exp(1 - 5/4)."""
    value = ribes(["b", "a", "c", "d"], ["a", "b", "c", "d", "e"])
    assert value == pytest.approx(5 / 6 * math.exp(1 - 5 / 4) ** 0.1)


def test_repeated_words_are_told_apart_by_their_context():
    """The first `the` by its right neighbour, the second by its left one; `of` alone on neither side stays out."""
    assert aligned_positions(["the", "cat", "saw", "the"], ["saw", "the", "dog", "the", "cat"]) == [3, 4, 0, 1]
    assert aligned_positions(["of", "x", "of"], ["of", "y", "of"]) == []


@pytest.mark.parametrize(
    ("ranks", "length", "tau"), [([], 3, 0), ([2], 3, 0), ([0], 1, 1), ([0, 1], 2, 1), ([1, 0], 2, 0)]
)
def test_tau_of_few_ranks(ranks, length, tau):
    assert normalized_tau(ranks, length) == tau


def test_empty_lines_score_nothing():
    assert ribes([], ["a"]) == ribes(["a"], []) == ribes([], []) == 0


def test_tokenised_on_request():
    raw = "Ein Hund, der rennt."
    assert create_metric("ribes").sentences([raw], ["ein Hund , der rennt ."])[0] < 1
    assert create_metric("ribes", MetricOptions(tokenize="13a")).sentences([raw], ["ein Hund , der rennt ."]) == [1.0]
