"""Figures of the runtime's benchmark, of made-up systems whose times and words are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from benchmarks import runtime
from benchmarks.runtime import MissingError, Quality
from benchmarks.runtime_systems import Training
from seqdistill.metrics.scores import create_metric
from seqdistill.options import MetricOptions
from seqdistill.runtime.latency import Timed, Turn
from seqdistill.runtime.measured import Load
from seqdistill.verbs import texts

REFERENCES = [
    f"the {animal} of {place} sees {number} dogs" for animal in "abcdef" for place in "xyz" for number in "123"
]
TIMES = {
    "teacher ctranslate2": [4.0, 8.0, 6.0],
    "teacher ctranslate2 beam 5": [10.0, 20.0, 15.0],
    "teacher torch": [20.0, 40.0, 30.0],
    "sru float32": [1.0, 2.0, 1.5],
    "sru int8": [0.5, 1.0, 0.75],
    "sru int8 shortlist": [0.25, 0.5, 0.375],
    "sru int8 shortlist avx2": [0.5, 1.0, 0.75],
    "poor float32": [0.1, 0.2, 0.15],
    "poor int8": [0.1, 0.2, 0.15],
    "poor int8 avx2": [0.3, 0.6, 0.45],
    "nat float32": [0.4, 0.8, 0.6],
    "nat int8": [0.2, 0.4, 0.3],
    "nat int8 avx2": [0.6, 1.2, 0.9],
}
"""Milliseconds of a sentence in three rounds, of which the second is twice as slow: a ratio within a round is not."""
SPOILED = {"poor": 20, "nat": 20, "sru int8 shortlist": 0}
"""References whose last word a system has wrong, by the beginning of its name."""


def text_of(name: str) -> list[str]:
    wrong = next((count for start, count in SPOILED.items() if name.startswith(start)), 0)
    return [line[:-4] + "cats" if number < wrong else line for number, line in enumerate(REFERENCES)]


def found(*left_out: str) -> runtime.Measured:
    names = [name for name in TIMES if not name.startswith(tuple(left_out or ("none",)))]
    turns = [
        Turn(
            name, number + 1, 1.0, Timed([TIMES[name][number] * factor for factor in (0.5, 1, 3)], 100 / TIMES[name][0])
        )
        for number in range(3)
        for name in names
    ]
    said = {"engine": "e", "precision": "int8", "instructions": ""}
    return runtime.Measured(
        turns,
        {name: text_of(name) for name in names},
        {name: Load(10.0 + at, 20.0 + at) for at, name in enumerate(names)},
        {name: 3.0 + at for at, name in enumerate(names)},
        dict.fromkeys(names, said),
    )


def trainings(*names: str) -> dict[str, Training]:
    families = {"sru": ("rnn", 64), "poor": ("hybrid", 128), "nat": ("nat", 128)}
    return {name: Training(name, *families[name], Path(name), None) for name in names}


@pytest.fixture
def quality() -> Quality:
    test = texts.TestSet([""] * len(REFERENCES), [[each] for each in REFERENCES])
    return Quality(test, REFERENCES, create_metric("bleu", MetricOptions(tokenize="13a"), num_references=1))


def test_figures_are_ratios_of_medians_within_rounds(quality: Quality, capsys: pytest.CaptureFixture[str]) -> None:
    figures = runtime.figures_of_run(trainings("sru", "poor", "nat"), found(), quality)
    assert capsys.readouterr().err == ""
    expected = {
        "teacher_ct2_int8_over_student_int8": 16,
        "teacher_beam5_ct2_int8_over_student_int8": 40,
        "teacher_torch_over_student_beam1": 80,
        "student_over_teacher_bleu": 1,
        "student_bleu_below_teacher": 0,
        "int8_bleu_loss": 0,
        "shortlist_bleu_loss": 0,
        "sru_ms": 0.375,
        "sru_avx2_over_vnni": 2,
        "hybrid_ms": 0.15,
        "hybrid_avx2_over_vnni": 3,
        "nat_int8_ms_w128": 0.3,
        "nat_ct2_teacher_over_nat": 20,
        "nat_avx2_over_vnni": 3,
        "load_ms": 15,
        "peak_mb": 25,
        "export_mb": 8,
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert set(figures) - set(expected) == {f"{a}_bleu_{b}" for a in ("int8", "shortlist") for b in ("low", "high")}


def test_the_best_student_is_the_fastest_that_keeps_its_teachers_quality(quality: Quality) -> None:
    both = trainings("poor", "sru")
    assert runtime.best_student(both, found(), quality).name == "sru"
    bleu = sacrebleu.corpus_bleu(text_of("poor int8"), [REFERENCES]).score
    assert 100 - bleu > runtime.WITHIN_BLEU
    assert runtime.best_student(trainings("poor"), found("sru"), quality).name == "poor", (
        "that loses least, where all do"
    )
    figures = runtime.figures_of_run(trainings("poor"), found("sru"), quality)
    assert figures["student_bleu_below_teacher"] == pytest.approx(100 - bleu)
    with pytest.raises(MissingError, match="a finished student"):
        runtime.best_student(both, found("sru", "poor"), quality)


def test_a_loss_is_positive_where_bleu_falls(quality: Quality) -> None:
    lost = runtime.loss("x", "sru int8", "poor int8", found(), quality)
    assert lost["x_loss"] == pytest.approx(100 - sacrebleu.corpus_bleu(text_of("poor int8"), [REFERENCES]).score)
    assert 0 < lost["x_low"] < lost["x_loss"] < lost["x_high"]


def test_figures_whose_models_are_not_there_are_left_out_and_named(
    quality: Quality, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = runtime.figures_of_run(trainings("sru"), found("poor", "nat"), quality)
    assert {"sru_ms", "export_mb"} <= set(figures) and not any(name.startswith(("nat", "hybrid")) for name in figures)
    said = capsys.readouterr().err
    assert "skipped nat_int8_ms_w128: needs a finished training of nat" in said and "hybrid_ms" in said
    assert runtime.figures_of_run({}, found("sru", "poor", "nat"), quality) == {}
    assert "skipped of the best student: needs a finished student" in capsys.readouterr().err


def test_rows_have_medians_and_extremes_of_rounds(quality: Quality) -> None:
    row: dict[str, Any] = runtime.row_of(found(), "sru int8", "title") | runtime.score_of(found(), "poor int8", quality)
    assert (row["latency_ms"], row["latency_ms_low"], row["latency_ms_high"]) == (0.75, 0.5, 1.0)
    assert row["latency_p95_ms"] == pytest.approx(0.75 + 0.9 * 2 * 0.75, abs=1e-3), "of 0.5, 1 and 3 times the median"
    assert row["bleu_low"] < row["bleu"] < row["bleu_high"] and row["vectors"] is None


def test_figures_of_made_up_transformers() -> None:
    names = {
        "ctranslate2": "teacher ctranslate2",
        "compiled": "sru float32",
        "compiled avx2": "teacher ctranslate2 beam 5",
    }
    whole = found()
    turns = [
        Turn(new, turn.round, 1.0, turn.result)
        for new, old in names.items()
        for turn in whole.turns
        if turn.name == old
    ]
    made = whole._replace(turns=turns, outputs=dict.fromkeys(names, ()))
    assert runtime.figures_of_made(made, "_w256") == {
        "transformer_ct2_over_compiled_w256": 4,
        "batch_sentences_per_second_over_ct2_w256": 4,
        "batch_sentences_per_second_w256": 100,
        "transformer_avx2_over_vnni_w256": 10,
    }
