"""The benchmark of the kernels: limits of made-up times, and a small model's sentences taken apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from native.compiled import engine_sets
from runtime.exported import exported, sentences, trained
from small_demo import RECIPE, write_demo

from benchmarks import kernels, sentence
from benchmarks.kernels import Product
from benchmarks.sentence import ClockedEngine, Limits, Work
from seqdistill import pipeline
from seqdistill.console import lines
from seqdistill.errors import UserError
from seqdistill.native.student import Student
from seqdistill.recipe import read_recipe


def test_a_limit_is_the_longer_of_reading_and_computing() -> None:
    """The second product sets the rate, 4 operations a second; the third takes 8 s at it, but 16 s to read."""
    products = [Product((1, 1, 1), 4.0, 2.0, 8), Product((2, 2, 2), 4.0, 1.0, 4), Product((4, 4, 1), 32.0, 16.0, 16)]
    rows = kernels.rows_of("avx2", products, 0.25)
    assert [row["of_limit"] for row in rows] == [0.5, 1.0, 0.5]
    assert [row["of_memory_read"] for row in rows] == [0.5, 0.25, 0.125]
    assert [row["microseconds"] for row in rows] == [4e6, 4e6, 32e6] and rows[2]["outputs"] == 4
    figures = kernels.figures_of("avx2", products)
    assert figures == {"avx2_gop_per_second": 4e-9, "avx2_step_of_a_read": 0.5}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    engine_sets()
    folder = tmp_path_factory.mktemp("model")
    loaded = trained("gru", folder / "trained")
    return Student(exported(loaded, folder / "out", precision="int8"), threads=1, beam=1)


def test_work_is_counted_matrix_by_matrix(student: Student) -> None:
    """A GRU of width 24, embeddings of 16, two layers, and a vocabulary of 90, by its definition."""
    work = sentence.work_of(student, [7, 8, 9], steps=5)
    tokens, half = 4, 12
    # Per direction, gates from the input and from the last state; the second layer reads both directions.
    inputs, states = 2 * 3 * half * (16 + 24), 2 * 2 * 3 * half * half
    key = 24 * 24
    assert work["encoder"] == Work(2 * tokens * (inputs + states + key), inputs + key + tokens * states)
    layers = 3 * 24 * (16 + 24) + 2 * 3 * 24 * 24
    after = 24 * (24 + 24) + 16 * 24
    assert work["decoder's layers"] == Work(2 * 5 * (layers + after), 5 * (layers + after))
    assert work["output layer"] == Work(2 * 5 * 90 * 16, 5 * 90 * 16)
    assert Work(6.0, 1.0).seconds(Limits(2.0, 4.0)) == 3 and Work(6.0, 20.0).seconds(Limits(2.0, 4.0)) == 5


def test_parts_are_the_whole(student: Student) -> None:
    claim, figures, rows = sentence.profile(student, ["", *sentences(3, seed=4)], Limits(1e9, 1e9), repeats=2)
    names = ["cut into pieces", "Python", "joined again", "encoder", "shortlist", "decoder's layers", "output layer"]
    assert [row["part"] for row in rows] == names and "gru" not in claim and "rnn" in claim
    assert sum(row["microseconds"] for row in rows) == pytest.approx(figures["sentence_us"], abs=0.1)
    assert sum(row["share_percent"] for row in rows) == pytest.approx(100, abs=0.5)
    assert sum(row.get("limit_microseconds", 0) for row in rows) == pytest.approx(figures["limit_us"], abs=0.1)
    assert rows[4]["microseconds"] == 0, "no shortlist"


def test_steps_and_output_layers_are_told_apart() -> None:
    """An engine: 10 s once, 3 s for a shortlist of all words, and 2 s a step, 1.5 of them in the output layer."""

    def seconds(words: int, allowed: bool) -> float:
        return 10 + (0 if allowed else 3) + words * (0.5 if allowed else 2)

    def translate(lines: list[str], max_length: int, allowed: list[str] | None = None) -> None:
        engine.seconds += seconds(max_length, allowed is not None)

    engine = ClockedEngine(None)
    target = SimpleNamespace(piece=str)
    fake = SimpleNamespace(
        translate=translate, tokenizers=SimpleNamespace(target=target), exported=SimpleNamespace(shortlist=True)
    )
    found = sentence.inside_of(fake, engine, "a", [5, 6, 7], 2, seconds(4, False))  # type: ignore[arg-type]
    assert found == pytest.approx({"encoder": 10, "shortlist": 3, "decoder's layers": 2, "output layer": 6})


@pytest.mark.slow
def test_a_run_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_demo(tmp_path)
    (tmp_path / "demo.toml").write_text(RECIPE.partition("[bench.speed]")[0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--run run: expected a finished recipe with a stage of `prepare` and one of"):
        sentence.opened(Path("run"), 3)
    pipeline.run(read_recipe(Path("demo.toml"), out=Path("run")), lines, jobs=1)
    monkeypatch.setattr(kernels, "MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(sys, "argv", ["x", "--run=run", "--results=.", "--repeats=20", "--sentences=3"])
    kernels.main()
    products, parts = (json.loads(Path(f"bench-{name}.json").read_text()) for name in ("kernels", "sentence"))
    assert {row["instructions"] for row in products["rows"]} == set(engine_sets())
    assert all(row["of_limit"] > 0 for row in products["rows"]) and len(parts["rows"]) == 7
    assert products["figures"]["memory_gb_per_second"] > 0 and parts["figures"]["steps"] > 1
