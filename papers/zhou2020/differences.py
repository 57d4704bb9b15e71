"""What holds between trainings of non-autoregressive students: paired bootstrap over sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from papers.zhou2020.published import REAL_TEXT_BLEU
from papers.zhou2020.trainings import DECODINGS, GENERATIONS, MIXTURES, Rows, Speeds, Systems
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.verbs.systems import System, gain

WEAK, STRONG = "vanilla", "levt"
Pair = tuple[str, str, str]
"""Student, data, and the data that it is compared with."""


def best(systems: Systems, teachers: Mapping[str, System], times: Speeds) -> Rows:
    """A row for each student on the base teacher's text: how far its test BLEU is from the teacher's."""
    rows: Rows = []
    for (student, data), system in systems.items():
        if data != "base" or data not in teachers:
            continue
        assert system.training is not None
        row = {"student": student, "bleu": system.scores["bleu"]}
        row["valid_bleu"] = read_json(system.training / FINISHED)["results"]["valid"]["bleu"]
        row |= {"bleu_of_teacher": teachers[data].scores["bleu"]} | _difference(teachers[data], system)
        row |= {name: times.get(student, {}).get(name) for name in ("relative_time", "times_faster_than_beam5")}
        rows.append(row | {"bleu_signature": system.scores["signatures"]["bleu"]})
    return rows


def pairs_of_interest(single: str) -> list[Pair]:
    """Distillation against real text for every student; the big teacher against smaller ones for weak and strong
    students; a decoding against the next worse one; interpolation, later generations, and mixtures against what they
    start from, the text of a `single` teacher. Student, data, and the data that they are compared with."""
    wanted = [(student, "base", "real") for student in REAL_TEXT_BLEU]
    wanted += [(student, "big", smaller) for student in (WEAK, "cmlm", STRONG) for smaller in ("tiny", "small", "base")]
    wanted += [("vanilla", better, worse) for worse, better in pairwise(DECODINGS)]
    wanted += [(STRONG, "interpolated", "base")]
    return wanted + [("vanilla", data, single) for data in (*GENERATIONS, *MIXTURES)]


def differences(systems: Systems, wanted: Sequence[Pair]) -> Rows:
    rows = []
    for student, better, baseline in wanted:
        if (student, better) in systems and (student, baseline) in systems:
            found = _difference(systems[student, baseline], systems[student, better])
            rows.append({"student": student, "difference": f"{better} over {baseline}"} | found)
    return rows


def _difference(baseline: System, system: System) -> dict[str, Any]:
    found = gain(baseline, system)
    rounded = {name: round(getattr(found, name), 4) for name in ("low", "high", "p_value")}
    return {"gain": round(found.delta, 4), **rounded, "signature": found.signature}
