"""Which corpus suits which student: what Zhou et al. 2020, section 4.3, found, applied to measured corpora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.measures.measure import Difference, Measures, difference

COMPLEXITY, FAITHFULNESS = "complexity_by_token", "faithfulness_by_token"
"""The measures that advice is based on. By type, as published, they mostly show, on a small corpus, what the aligner
does with words that occur once (half of all words); on Multi30k they rank teachers in reverse (docs/measures.md)."""
WEAKEST, STRONGEST = (11.4, 1 / 3), (25.2, 1.0)
"""BLEU on real data (WMT'14 English to German), and place of the best corpus, of `nat` and of `levt`: the second
simplest of four teachers' corpora, and the most faithful one."""


class StudentKind(NamedTuple):
    """A kind of student.

    Args:
        title: its name in prose, beside its name in `train --model`.
        published_bleu: on real data, WMT'14 English to German; None for autoregressive students.
        evidence: published findings about its data.
    """

    title: str
    published_bleu: float | None
    evidence: str

    @property
    def place(self) -> float:
        """Where its best corpus stands among those of teachers of growing size: 0 the simplest, 1 the most faithful."""
        if self.published_bleu is None:
            return 1.0
        # A straight line between two points: a student of 18.3 BLEU, half way, has its best corpus at place 2/3.
        (low, start), (high, end) = WEAKEST, STRONGEST
        return min(max(start + (end - start) * (self.published_bleu - low) / (high - low), start), end)


_BIG = "Zhou et al. 2020: best on the big of four teachers' data"
_BETWEEN = "Zhou et al. 2020: the stronger the student, the more complex its best data; its place is interpolated"
_ANY = (
    "Zhou et al. 2020, Lin et al. 2020: every student they tried does better on a teacher's outputs than on real data"
)
STUDENTS: dict[str, StudentKind] = {
    "autoregressive": StudentKind(
        "Transformer, SRU, GRU, LSTM",
        None,
        "Lin et al. 2020: trained on its teacher's own outputs, a 2-layer SRU gains 1.8 to 2.5 BLEU",
    ),
    "nat": StudentKind("vanilla NAT", 11.4, "Zhou et al. 2020: best on the small of four teachers' data"),
    "flowseq": StudentKind("FlowSeq", 18.6, _BETWEEN),
    "inat": StudentKind("iNAT", 19.3, _BETWEEN),
    "inst": StudentKind("Insertion Transformer", 20.9, _BETWEEN),
    "cmlm": StudentKind("mask-predict", 23.5, _BETWEEN),
    "levt": StudentKind("Levenshtein Transformer", 25.2, _BIG),
    "levt-big": StudentKind("Levenshtein Transformer, big", 26.5, _BIG),
}


class Advice(NamedTuple):
    """The corpus advised for one kind of student, and why."""

    student: str
    corpus: str
    reason: str
    evidence: str


class Excluded(NamedTuple):
    """A corpus advised to no student: another one is certainly better in one measure and not certainly worse in any."""

    corpus: str
    reason: str


class Advised(NamedTuple):
    """The advice that follows from the measures of distilled corpora.

    Args:
        notes: what does not follow, and why.
    """

    advice: list[Advice]
    excluded: list[Excluded]
    notes: list[str]


def check_students(students: Sequence[str]) -> None:
    """Raises UserError for a kind of student that is not in STUDENTS; tells the nearest."""
    for name in students:
        if name not in STUDENTS:
            raise UserError(f"unknown student {name!r}: {nearest(name, STUDENTS)}")


def advise(distilled: Sequence[Measures], real: Measures | None = None, *, students: Sequence[str] = ()) -> Advised:
    """Ranks corpora from simple to complex and gives each kind of student the one at its place.

    A weak student does best on simple data, a strong one on faithful data (section 4.3). A corpus that is more complex
    than another, or less faithful, and not for certain better in the other measure, is left out (as sampled ones are);
    without `real` there is no faithfulness, and nothing is left out. A corpus that is more complex than the real data
    for certain is for no weak student. Where the interval of a difference holds 0, the reason says so.

    Args:
        distilled: measures of corpora distilled from the same lines, each taken against `real` where that is given.
        students: keys of STUDENTS; none: all.

    Raises:
        UserError: an unknown kind of student.
    """
    check_students(students)
    excluded: dict[str, Excluded] = {}
    if real is not None:
        for one in distilled:
            for other in distilled:
                # A corpus that is out already excludes no other.
                considered = other is not one and not {one.corpus, other.corpus} & excluded.keys()
                if considered and (reason := _dominated(one, other)):
                    excluded[one.corpus] = Excluded(one.corpus, reason)
    ranked = sorted((one for one in distilled if one.corpus not in excluded), key=lambda one: one[COMPLEXITY].value)
    if real is None and len(ranked) == 1:
        note = f"there is nothing to compare {ranked[0].corpus} with: give --real, the corpus it was distilled from"
        return Advised([], [], [note])
    simple = [one for one in ranked if real is None or difference(one, real, COMPLEXITY).low <= 0]
    kept = {one.corpus for one in simple}
    notes = [_too_complex(one, real) for one in ranked if real is not None and one.corpus not in kept]
    advice = []
    if len(ranked) == 1 and simple:
        advice.append(Advice("any student", ranked[0].corpus, _reason(ranked, 0, real), _ANY))
    elif simple:
        for name in students or STUDENTS:
            kind = STUDENTS[name]
            suited = simple if kind.place < 1 else ranked
            # Of four corpora, place 1/3 is number 1 (from 0), the second simplest.
            place = round(kind.place * (len(suited) - 1))
            advice.append(
                Advice(f"{name} ({kind.title})", suited[place].corpus, _reason(suited, place, real), kind.evidence)
            )
    return Advised(advice, list(excluded.values()), notes)


def _too_complex(one: Measures, real: Measures) -> str:
    apart = difference(one, real, COMPLEXITY)
    return (
        f"{one.corpus} is more complex than the real data {real.corpus} (by {apart.value:.3f} [{apart.low:.3f}, "
        f"{apart.high:.3f}]): no weak student gains by it"
    )


def _dominated(one: Measures, other: Measures) -> str | None:
    apart = {name: difference(one, other, name) for name in (COMPLEXITY, FAITHFULNESS)}
    if any(found.high < 0 for found in apart.values()) or not any(found.low > 0 for found in apart.values()):
        return None
    words = {
        COMPLEXITY: ("more complex", "no simpler for certain"),
        FAITHFULNESS: ("less faithful", "no more faithful for certain"),
    }
    parts = [
        f"{words[name][found.low <= 0]} ({found.value:+.3f} [{found.low:.3f}, {found.high:.3f}])"
        for name, found in apart.items()
    ]
    return f"{' and '.join(parts)} than {other.corpus}"


def _reason(ranked: Sequence[Measures], place: int, real: Measures | None) -> str:
    chosen = ranked[place]
    value, (low, high) = chosen[COMPLEXITY].value, chosen[COMPLEXITY].interval
    parts = [f"C by token {value:.3f} [{low:.3f}, {high:.3f}], {_rank(place, len(ranked))}"]
    if real is not None:
        parts.append(_beside_real(difference(real, chosen, COMPLEXITY)))
    near = [
        other.corpus
        for other in ranked[max(0, place - 1) : place + 2]
        if other is not chosen and not difference(chosen, other, COMPLEXITY).certain
    ]
    if near:
        parts.append(f"not certainly apart from {' and '.join(near)}: try both")
    return "; ".join(parts)


def _beside_real(gain: Difference) -> str:
    if gain.high < 0:
        return f"{-gain.value:.3f} [{-gain.high:.3f}, {-gain.low:.3f}] above real data: more complex than it"
    text = f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}] below real data"
    return text if gain.low > 0 else f"{text}: no simpler for certain, expect little"


def _rank(place: int, count: int) -> str:
    if count == 1:
        return "the only corpus"
    if place in (0, count - 1):
        return f"the {'least' if place == 0 else 'most'} complex of {count}"
    return f"number {place + 1} of {count} from simple to complex"
