"""Reordering and wording by hand; everything measured of a corpus, and what corpora cannot be compared."""

import math

import numpy as np
import pytest
import sacrebleu

from seqdistill.errors import UserError
from seqdistill.measures.alignment import align
from seqdistill.measures.links import Links
from seqdistill.measures.measure import DEFINITIONS, measure
from seqdistill.measures.reordering import reordering_scores
from seqdistill.measures.wording import repetitions, type_token_ratio
from seqdistill.options import AlignerOptions

PAIRS = [
    ("a b c", "x y z"),
    ("b a", "y x"),
    ("c c", "z z"),
    ("a", "x"),
    ("b c", "z y"),
    ("c b a", "z y x"),
]


def test_reordering_by_hand():
    links = {
        "monotone": ([(0, 0), (1, 1), (2, 2), (3, 3)], 1.0),
        "reversed": ([(0, 3), (1, 2), (2, 1), (3, 0)], 0.0),
        "a word moved to the end": ([(0, 3), (1, 0), (2, 1), (3, 2)], 1 - 1 / 3),
        "halves swapped": ([(0, 2), (1, 3), (2, 0), (3, 1)], 1 - 1 / 3),
        "gaps do not matter": ([(0, 1), (2, 5), (5, 9)], 1.0),
        "two words of one target word keep together": ([(0, 1), (1, 1), (2, 0)], 1 - 1 / 2),
        "by the mean of a word's links": ([(0, 0), (0, 4), (1, 1), (2, 3)], 1 - 2 / 2),
        "one word": ([(3, 0), (3, 1)], math.nan),
        "none": ([], math.nan),
        "monotone again": ([(0, 0), (1, 1)], 1.0),
    }
    scores = reordering_scores(Links.from_lists([pairs for pairs, _ in links.values()]))
    assert scores == pytest.approx([score for _, score in links.values()], nan_ok=True)
    assert np.isnan(reordering_scores(Links.from_lists([[], []]))).all()


def test_variety_and_repetitions_by_hand(make_bitext):
    side = make_bitext([("s", "a a b"), ("s", "b"), ("s", "c a a a")]).target
    found = type_token_ratio(side)
    assert found.value == pytest.approx(3 / 8)
    assert found.sentences == pytest.approx([2 / 3, 1, 2 / 4])
    own = np.array([0, 0, 1]) - 3 / 8 * np.array([3, 1, 4])  # only c is one sentence's own
    assert found.influences == pytest.approx((own - own.mean()) / 8)
    repeated = repetitions(side)
    assert repeated.value == pytest.approx(3 / 8)
    assert repeated.sentences == pytest.approx([1 / 3, 0, 2 / 4])
    assert repeated.influences.sum() == pytest.approx(0)


def test_everything_is_measured_with_definition_signature_and_interval(make_bitext):
    real = align(make_bitext(PAIRS * 4, "real"))
    distilled = align(make_bitext([(source, target.replace("z", "y")) for source, target in PAIRS * 4], "distilled"))
    found = measure(distilled, real, num_samples=100)
    assert list(found.measures) == list(DEFINITIONS)
    for name, one in found.measures.items():
        assert one.name == name
        assert one.interval.low <= one.value + 1e-9 and one.value - 1e-9 <= one.interval.high, name
        assert one.signature.endswith("|ci:95|bs:100|seed:12345"), name
        assert len(one.sentences) == len(found.lines)
    assert found["faithfulness_counted"].value > 0
    assert found["target_length"].value == pytest.approx(13 / 6)
    assert found["complexity"].sentences.mean() > 0
    row = found.row()
    assert (row["corpus"], row["pairs"], row["skipped_blank"]) == ("distilled", 24, 0)
    assert "faithfulness" not in measure(real).measures


def test_real_data_against_itself(captions):
    aligned = align(captions)
    found = measure(aligned, aligned, num_samples=50)
    assert found["faithfulness"].value == pytest.approx(0, abs=1e-12)
    assert found["bleu"].value == pytest.approx(100)
    assert found.num_unseen == (0, 0)


def test_bleu_is_sacrebleus_on_the_lines_of_both(make_bitext):
    targets = ["the cat sat on the mat", "a dog ran off", "two birds sing in the tree", "it rains"]
    outputs = ["the cat sat on a mat", "", "two birds sing in a tree", "it is raining"]
    corpora = [
        align(make_bitext(zip(["s one", "s two", "s three", "s four"], side, strict=True), name))
        for name, side in (("real", targets), ("distilled", outputs))
    ]
    found = measure(corpora[1], corpora[0], num_samples=50)
    kept = (0, 2, 3)
    expected = sacrebleu.corpus_bleu(
        [outputs[at] for at in kept], [[targets[at] for at in kept]], tokenize="none", force=True
    )
    assert found["bleu"].value == pytest.approx(expected.score)
    by_sentence = [
        sacrebleu.sentence_bleu(outputs[at], [targets[at]], tokenize="none", use_effective_order=True).score
        for at in kept
    ]
    assert found["bleu"].sentences == pytest.approx(by_sentence)
    assert found.skipped.one_sided == 1
    assert found.lines.tolist() == [1, 3, 4]


def test_a_sentence_without_a_real_one_has_no_bleu(make_bitext):
    real, distilled = (
        align(make_bitext([("a b", one), ("c d", two), ("a d", "x w")], name))
        for name, one, two in (("real", "x y", ""), ("distilled", "x y", "z w"))
    )
    assert measure(distilled, real, num_samples=50)["bleu"].sentences == pytest.approx(
        [100, math.nan, 100], nan_ok=True
    )


def test_the_order_of_sentences_does_not_matter(make_bitext, captions):
    pairs = [(" ".join(captions.source.sentence(at)), " ".join(captions.target.sentence(at))) for at in range(200)]
    one, other = (measure(align(make_bitext(rows)), num_samples=50) for rows in (pairs, pairs[::-1]))
    for name in one.measures:
        assert one[name].value == pytest.approx(other[name].value, rel=1e-4), name


def test_corpora_that_cannot_be_compared(make_bitext):
    real = align(make_bitext(PAIRS, "real"))
    for pairs, message in (
        (PAIRS[:5], "distilled has 5 lines but the real corpus real has 6"),
        ([*PAIRS[:2], ("c d", "z"), *PAIRS[3:]], "line 3: the source of distilled is 'c d', that of .* is 'c c'"),
    ):
        with pytest.raises(UserError, match=message):
            measure(align(make_bitext(pairs, "distilled")), real)
    other = align(make_bitext(PAIRS, "distilled"), AlignerOptions(em_iterations=2))
    with pytest.raises(UserError, match=r"distilled was aligned with .*I:2.*I:5"):
        measure(other, real)


def test_a_corpus_of_one_line(make_bitext):
    with pytest.raises(UserError, match=r"1 sentence pair: .* at least 2"):
        measure(align(make_bitext([("a", "x")])))
