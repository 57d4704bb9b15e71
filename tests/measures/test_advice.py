"""Which corpus suits which student: by hand, from measures made up for it."""

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.measures.advice import COMPLEXITY, FAITHFULNESS, STUDENTS, advise
from seqdistill.measures.bitext import Skipped
from seqdistill.measures.intervals import Interval
from seqdistill.measures.measure import Measure, Measures, difference
from seqdistill.models.family import preset_names

LINES = 400


def measured(name: str, complexity: float, faithfulness: float | None = None, *, noise: float = 0.001) -> Measures:
    """Influences are noise that differs from corpus to corpus, so differences have intervals of about 0.003."""
    generator = np.random.default_rng(sum(map(ord, name)))
    found = {}
    for key, value in ((COMPLEXITY, complexity), (FAITHFULNESS, faithfulness)):
        if value is not None:
            moved = generator.normal(size=LINES) * noise / 20
            found[key] = Measure(key, value, Interval(value - noise, value + noise), "", "", np.zeros(LINES), moved)
    return Measures(name, np.arange(1, LINES + 1), LINES, Skipped(0, 0, 0), None, found)


REAL = measured("real", 3.0)
TEACHERS = [
    measured("big", 2.4, 2.0),
    measured("tiny", 1.8, 3.2),
    measured("base", 2.2, 2.4),
    measured("small", 2.0, 2.8),
]


def chosen(advised) -> dict[str, str]:
    return {one.student.partition(" (")[0]: one.corpus for one in advised.advice}


def test_the_published_places_of_four_teachers():
    found = chosen(advise(TEACHERS, REAL))
    assert found["nat"] == "small" and found["levt"] == found["levt-big"] == found["autoregressive"] == "big"
    order = ["tiny", "small", "base", "big"]
    places = [order.index(found[name]) for name in STUDENTS if name != "autoregressive"]
    assert places == sorted(places)


def test_a_corpus_both_more_complex_and_less_faithful_is_left_out():
    sampled = measured("sampled", 2.9, 3.5)
    found = advise([*TEACHERS, sampled], REAL)
    assert [one.corpus for one in found.excluded] == ["sampled"]
    assert "more complex (+" in found.excluded[0].reason and "less faithful (+" in found.excluded[0].reason
    assert chosen(found) == chosen(advise(TEACHERS, REAL))


def test_a_corpus_worse_in_one_and_not_for_certain_better_in_the_other_is_left_out():
    less_faithful, more_complex = measured("erratic", 2.3999, 2.2), measured("wordy", 2.5, 1.9999)
    found = {one.corpus: one.reason for one in advise([*TEACHERS, less_faithful, more_complex], REAL).excluded}
    assert list(found) == ["erratic", "wordy"]
    assert found["erratic"].startswith("no simpler for certain (-0.000 [")
    assert "less faithful (+0.200 [" in found["erratic"] and found["erratic"].endswith("than big")
    assert "more complex (+0.100 [" in found["wordy"] and "no more faithful for certain" in found["wordy"]


def test_two_corpora_that_nothing_tells_apart_both_stay():
    twins = [measured("one", 2.0, 3.0), measured("two", 2.0001, 3.0001)]
    assert not advise(twins, REAL).excluded


def test_without_real_data_corpora_are_ranked_by_complexity_alone():
    corpora = [measured("one", 2.0), measured("two", 1.0)]
    found = advise(corpora, students=["nat", "levt"])
    assert chosen(found) == {"nat": "two", "levt": "one"} and not found.excluded
    assert all("below real data" not in one.reason for one in found.advice)


def test_what_intervals_do_not_tell_apart_is_said():
    close = [measured("one", 2.0, 3.0), measured("two", 2.0001, 3.0001)]
    reason = advise(close, REAL, students=["nat"]).advice[0].reason
    assert "not certainly apart from two: try both" in reason
    assert "1.000 [" in reason and "below real data" in reason
    no_gain = advise([measured("same", 3.0001, 1.0)], REAL).advice[0]
    assert no_gain.student == "any student" and "no simpler for certain" in no_gain.reason


def test_with_nothing_to_compare_nothing_is_advised():
    found = advise([measured("alone", 2.0)])
    assert not found.advice and found.notes == [
        "there is nothing to compare alone with: give --real, the corpus it was distilled from"
    ]


def test_what_is_more_complex_than_real_data_is_for_no_weak_student():
    """It read "no simpler for certain", and was advised to any student."""
    wild = measured("wild", 3.5, 1.0)
    alone = advise([wild], REAL)
    assert not alone.advice
    assert alone.notes[0].startswith("wild is more complex than the real data real (by 0.500 [0.4")
    found = advise([*TEACHERS, wild], REAL)
    weak = ["nat", "flowseq", "inat", "inst", "cmlm"]
    assert "wild" not in {chosen(found)[kind] for kind in weak} and chosen(found)["nat"] == "small"
    strong = next(one for one in found.advice if one.student == "levt (Levenshtein Transformer)")
    assert strong.corpus == "wild" and "above real data: more complex than it" in strong.reason
    assert found.notes == alone.notes and not found.excluded


def test_difference_is_paired_by_line():
    one, other = measured("one", 2.0), measured("other", 1.5)
    found = difference(one, other, COMPLEXITY)
    moved = one[COMPLEXITY].influences - other[COMPLEXITY].influences
    assert found.value == pytest.approx(0.5) and found.certain
    assert found.high - found.low == pytest.approx(2 * 1.96 * moved.std() * np.sqrt(LINES), rel=0.1)
    itself = difference(one, one, COMPLEXITY)
    assert itself == (0, 0, 0) and not itself.certain


def test_students_are_called_what_train_calls_them():
    assert set(STUDENTS) - {"autoregressive"} <= set(preset_names())


def test_bad_input_is_named():
    with pytest.raises(UserError, match="unknown student 'natt'"):
        advise(TEACHERS, REAL, students=["natt"])
    shorter = measured("short", 1.0)
    shorter = Measures("short", shorter.lines[:-1], LINES - 1, shorter.skipped, None, shorter.measures)
    with pytest.raises(UserError, match="short has 399 lines but real has 400"):
        difference(shorter, REAL, COMPLEXITY)
    assert not advise([], REAL).advice
