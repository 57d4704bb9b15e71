"""Complexity and faithfulness: closed forms, brute force over dictionaries, and resampling outright."""

import math

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.measures.alignment import align
from seqdistill.measures.complexity import (
    complexity,
    entropy_gradient,
    faithfulness,
    influences,
    sentence_values,
)
from seqdistill.measures.intervals import resampled_interval
from seqdistill.measures.lexicon import LexicalTable, table_of_links
from seqdistill.measures.links import Links
from seqdistill.options import AlignerOptions

ONE_TO_ONE = [("a b c", "x y z"), ("b a", "y x"), ("c", "z"), ("a", "x"), ("b", "y")] * 3


def counted(make_bitext, pairs, links=None):
    """A table counted on links; without links word k of the source is linked to word k of the target."""
    bitext = make_bitext(pairs)
    if links is None:
        links = [[(at, at) for at in range(len(source.split()))] for source, _ in pairs]
    return table_of_links(bitext, Links.from_lists(links), "by:hand")


def divergence_by_hand(real: LexicalTable, distilled: LexicalTable, smoothing: float) -> float:
    """Over every word of the joint vocabulary, rows as dictionaries."""
    words = sorted({*real.target_words, *distilled.target_words})
    background = dict.fromkeys(words, 0.0)
    for table in (real, distilled):
        total = sum(table.target_frequencies)
        for word, count in zip(table.target_words, table.target_frequencies, strict=True):
            background[word] += count / total / 2
    sums = []
    for source in real.source_words:
        one, other = real.row(source), distilled.row(source)
        if one:
            p = {word: (1 - smoothing) * one.get(word, 0) + smoothing * background[word] for word in words}
            q = {word: (1 - smoothing) * other.get(word, 0) + smoothing * background[word] for word in words}
            q = q if other else background
            sums.append(sum(p[word] * math.log(p[word] / q[word]) for word in words))
    return sum(sums) / len(sums)


def test_a_one_to_one_lexicon_has_no_complexity(make_bitext):
    assert complexity(counted(make_bitext, ONE_TO_ONE)) == 0
    aligned = align(make_bitext(ONE_TO_ONE), AlignerOptions(em_iterations=20))
    assert complexity(aligned.table) == pytest.approx(0, abs=1e-3)
    assert complexity(aligned.counted_table()) == 0


def test_two_words_by_hand(make_bitext):
    """a is x three times in four, b always z: entropies H(3/4) and 0, their mean over two words."""
    table = counted(make_bitext, [("a b", "x z"), ("a", "x"), ("a", "x"), ("a", "y")])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert complexity(table) == pytest.approx(entropy / 2)
    assert table.row("a") == {"x": 0.75, "y": 0.25}
    assert table.row("b") == {"z": 1.0}
    assert table.row("c") == {}
    side = make_bitext([("a b", "x"), ("b", "x"), ("a a", "x")]).source
    assert sentence_values(side, table.entropies()) == pytest.approx([entropy, 0, 2 * entropy])


def test_words_without_links_count_for_nothing(make_bitext):
    table = counted(make_bitext, [("a b", "x y"), ("a", "y")], [[(0, 0)], [(0, 0)]])
    assert table.has_row().tolist() == [True, False]
    assert complexity(table) == pytest.approx(math.log(2))


def test_rows_of_a_model_sum_to_one(captions):
    table = align(captions).table
    assert np.add.reduceat(table.probabilities, table.starts[:-1]) == pytest.approx(1)
    assert (np.diff(table.starts) > 0).all()


def test_a_corpus_is_faithful_to_itself(captions):
    aligned = align(captions)
    for table in (aligned.table, aligned.counted_table()):
        assert faithfulness(table, table).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.01, 0.3])
def test_faithfulness_equals_brute_force(make_bitext, smoothing):
    real = counted(make_bitext, [("a b", "x z"), ("a c", "x y"), ("a d", "w x"), ("b b", "z z")])
    distilled = counted(make_bitext, [("b a", "v x"), ("a e", "x y"), ("c", "x"), ("b", "z")])
    found = faithfulness(real, distilled, smoothing=smoothing)
    assert found.value == pytest.approx(divergence_by_hand(real, distilled, smoothing))
    assert found.value > 0
    assert found.num_unseen == 1
    assert faithfulness(distilled, real, smoothing=smoothing).value == pytest.approx(
        divergence_by_hand(distilled, real, smoothing)
    )


def test_smoothing_is_a_share(make_bitext):
    table = counted(make_bitext, ONE_TO_ONE)
    for smoothing in (0.0, 1.0):
        with pytest.raises(UserError, match=r"smoothing = .*: expected a share between 0 and 1"):
            faithfulness(table, table, smoothing=smoothing)


def test_influences_are_derivatives(make_bitext):
    """Against the change of C when one sentence is given a little more weight."""
    pairs = [("a b", "x z"), ("a", "x"), ("a b", "y y"), ("a c", "y z"), ("b", "z")]
    bitext = make_bitext(pairs)
    links = Links.from_lists([[(at, at) for at in range(len(source.split()))] for source, _ in pairs])
    table = table_of_links(bitext, links, "by:hand")
    found = influences(table, entropy_gradient(table), bitext, links, np.full(3, 1 / 3))
    step = 1e-6
    for at in range(len(pairs)):
        counts: dict[str, dict[str, float]] = {}
        for number, (source, target) in enumerate(pairs):
            for one, other in zip(source.split(), target.split(), strict=True):
                row = counts.setdefault(one, {})
                row[other] = row.get(other, 0) + 1 + step * (number == at)
        shares = [[count / sum(row.values()) for count in row.values()] for row in counts.values()]
        heavier = sum(-p * math.log(p) for row in shares for p in row) / 3
        assert (heavier - complexity(table)) / step == pytest.approx(found[at], abs=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-12)


def test_interval_of_a_mean_is_the_normal_one():
    values = np.arange(400.0) % 5
    error = values.std() / math.sqrt(400)
    low, high = resampled_interval(values.mean(), (values - values.mean()) / 400, num_samples=4000)
    assert low == pytest.approx(2 - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(2 + 1.96 * error, abs=0.15 * error)


def test_very_many_sentences_are_drawn_in_parts(monkeypatch):
    from seqdistill.measures import intervals

    influences_ = np.random.default_rng(1).normal(size=4000) / 4000
    whole = resampled_interval(1.0, influences_)
    monkeypatch.setattr(intervals, "MAX_UNITS", 1000)
    parts = resampled_interval(1.0, influences_)
    assert parts.high - parts.low == pytest.approx(whole.high - whole.low, rel=0.15)


def test_bad_intervals():
    with pytest.raises(UserError, match=r"1 sentence pair: .* at least 2"):
        resampled_interval(1.0, np.zeros(1))
    with pytest.raises(UserError, match=r"39 resamples: .* at least 40"):
        resampled_interval(1.0, np.zeros(5), num_samples=39)


def test_tables_are_saved_whole(tmp_path, captions):
    table = align(captions).table
    table.save(tmp_path / "table.npz")
    again = LexicalTable.load(tmp_path / "table.npz")
    assert again.source_words == table.source_words
    assert again.signature == table.signature
    assert np.array_equal(again.probabilities, table.probabilities)
    assert complexity(again) == complexity(table)


def test_bad_tables(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        LexicalTable.load(tmp_path / "none.npz")
    for content in (b"text", b"PK\x03\x04cut"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(UserError, match="not a lexical table"):
            LexicalTable.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="not a lexical table"):
        LexicalTable.load(tmp_path / "other.npz")
