"""The modes study: a whole recipe on two made-up languages, what it reads and refuses, and the page."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.results import read_result, write_result
from papers.zhou2020 import modes
from seqdistill.data.directory import DataDirectory
from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json
from seqdistill.manifest import FINISHED
from seqdistill.measures.modes import language_models
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.options import ModesOptions
from seqdistill.progress import Silent
from seqdistill.recipe import Recipe, read_recipe
from seqdistill.studies.modes import all_outputs, language_text, run
from seqdistill.text.lines import read_lines
from seqdistill.verbs.modes import check, page_of

Call = Callable[..., Any]

RECIPE = """
name = "toy-modes"
description = "Two made-up languages."

[prepare.full]
source = "train.en"
target = ["train.de", "train.fr"]
valid_source = "valid.en"
valid_target = ["valid.de", "valid.fr"]
test_source = "test.en"
test_target = ["test.de", "test.fr"]
vocab_size = 36

[prepare.random]
source = "train.en"
target = ["train.de", "train.fr"]
valid_source = "valid.en"
valid_target = ["valid.de", "valid.fr"]
one_target = true
tokenizer_from = "full"

[defaults.train]
batch_tokens = 192
max_updates = 120
warmup = 20
learning_rate = 1e-2
validate_every = 120
metric = "bleu"
average = "last"
tensorboard = false
set = { dim = 32, ffn_dim = 64, encoder_layers = 1, decoder_layers = 1, heads = 2, dropout = 0.0 }

[train.at]
data = "full"
model = "transformer"

[distill.distilled]
teacher = "at"
data = "full"
beam = 2
workers = 1

[train.nat]
data = "full"
model = "nat"

[train.nat-random]
data = "random"
model = "nat"

[train.nat-distilled]
data = "distilled"
model = "nat"

[defaults.evaluate]
data = "full"
metrics = "bleu,chrf"
speed_lines = 1
beam = 1

[evaluate.test]
each = { model = ["at", "nat", "nat-random", "nat-distilled"] }

[modes.study]
output = { at = "test-at", nat = "test-nat", nat-random = "test-nat-random", nat-distilled = "test-nat-distilled" }
language = { de = "train.de", fr = "train.fr" }
training_data = { full = "full", random = "random", distilled = "distilled" }

[report]
title = "Toy"
"""
ENGLISH, GERMAN, FRENCH = "abcde", "ijklm", "qrstu"


def write_text(folder: Path) -> None:
    """Each English word has one German and one French word."""
    lines = [line for length in (3, 4) for line in product(range(5), repeat=length)]
    random.Random(3).shuffle(lines)
    for name, part in {"train": lines[60:], "valid": lines[:20], "test": lines[20:60]}.items():
        for language, words in {"en": ENGLISH, "de": GERMAN, "fr": FRENCH}.items():
            text = "".join(" ".join(words[number] for number in line) + "\n" for line in part)
            (folder / f"{name}.{language}").write_text(text)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe, run."""
    folder = tmp_path_factory.mktemp("toy")
    write_text(folder)
    (folder / "toy.toml").write_text(RECIPE)
    words = [sys.executable, "-m", "seqdistill", "run", "toy.toml", "--out", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return read_recipe(folder / "toy.toml", out=folder / "out")


def results_of(recipe: Recipe) -> dict[str, Any]:
    return read_json(recipe.out / "study" / "modes.json")


@pytest.mark.slow
def test_a_non_autoregressive_model_mixes_what_one_that_writes_left_to_right_does_not(toy: Recipe) -> None:
    """Figure 1 and table 1 of the paper in small; every word has two translations alike, so C(full) is ln 2.

    To a hundredth: the aligner stops after four maximisations.
    """
    figures = results_of(toy)["figures"]
    assert figures["single_language_at"] > 90 and figures["single_language_nat"] < 60
    assert figures["single_language_nat_distilled"] > figures["single_language_nat"] + 20
    assert figures["single_language_references"] == 100
    assert figures["complexity_full"] == pytest.approx(np.log(2), abs=1e-2)
    assert figures["complexity_random"] <= figures["complexity_full"] + 1e-6
    assert read_json(toy.out / "study" / FINISHED)["results"]["figures"] == figures


@pytest.mark.slow
def test_the_posterior_of_every_line_is_written(toy: Recipe) -> None:
    """Against the measure itself, on the hypotheses that the evaluations wrote."""
    results, folder = results_of(toy), toy.out.parent
    texts = {name: read_lines(folder / f"train.{name}") for name in ("de", "fr")}
    models = language_models(texts, create_tokenizer(name="13a"), smoothing=0.01)
    systems = {row["system"]: row for row in results["systems"]}
    assert list(systems) == ["at", "nat", "nat-random", "nat-distilled", "references"] == list(results["posteriors"])
    for name, row in systems.items():
        lines = list(read_lines(toy.out / f"test-{name}" / "hypotheses.txt")) if name != "references" else None
        assert len(results["posteriors"][name]) == row["lines"] == (80 if lines is None else 40)
        if lines is not None:
            values = models.posteriors(lines).values
            assert np.allclose(np.array(results["posteriors"][name], dtype=float), values, atol=5e-5, equal_nan=True)
            single = 100 * float((values > 0.75).any(axis=1).mean())
            assert row["single_language_percent"] == pytest.approx(single, abs=0.01)
            assert row["de_percent"] + row["fr_percent"] == pytest.approx(single, abs=0.02)
    assert results["threshold"] == 0.75 and results["signature"] == models.signature
    corpora = {row["corpus"]: row for row in results["corpora"]}
    assert [row["pairs"] for row in corpora.values()] == [1380, 690, 690]
    assert all(row["complexity_low"] <= row["complexity"] <= row["complexity_high"] for row in corpora.values())
    assert all("table:model-" in row["complexity_signature"] for row in corpora.values())


@pytest.mark.slow
def test_a_source_with_several_references_is_decoded_once_and_scored_against_all(toy: Recipe) -> None:
    folder = toy.out.parent
    for stage in ("test-at", "test-nat-distilled"):
        sources = list(read_lines(toy.out / stage / "sources.txt"))
        assert sources == list(read_lines(folder / "test.en"))
        references = zip(*(read_lines(folder / f"test.{name}") for name in ("de", "fr")), strict=True)
        assert list(read_lines(toy.out / stage / "references.txt")) == ["\t".join(row) for row in references]
        scores = read_json(toy.out / stage / "scores.json")
        assert scores["num_references"] == 2 and scores["sentences"] == 40
        assert all(signature.startswith("nrefs:2|") for signature in scores["signatures"].values())
    at = read_json(toy.out / "at" / FINISHED)["results"]["valid"]["bleu"]
    assert at > 60, "a validation that knows one language only would count half of what is right as wrong"
    shown = [" / ".join(line.split("\t")) for line in read_lines(toy.out / "test-at" / "references.txt")]
    page = (toy.out / "report.html").read_text()
    assert sum(f"<td>{references}</td>" in page for references in shown) == 8


@pytest.mark.slow
def test_distilled_data_has_one_target_for_each_source(toy: Recipe) -> None:
    full, random_, distilled = (DataDirectory.open(toy.out / name) for name in ("full", "random", "distilled"))
    assert list(distilled.train.sources()) == list(random_.train.sources()) == list(full.train.sources())[::2]


@pytest.mark.slow
def test_the_page_draws_every_system(toy: Recipe) -> None:
    page = (toy.out / "study" / "modes.html").read_text()
    assert page.count("<svg") == 1 + 5 and page.count("<table") == 2 and "<script" not in page
    for text in ("nat-distilled", "Complexity of the data", "In one language, %", "posterior of fr", "mixed"):
        assert text in page


@pytest.mark.slow
def test_the_benchmark_writes_systems_beside_their_data(toy: Recipe, tmp_path: Path) -> None:
    figures, rows = modes.tables(toy)
    assert figures == results_of(toy)["figures"]
    by_system = {row["system"]: row for row in rows}
    data = {"at": "full", "nat": "full", "nat-random": "random", "nat-distilled": "distilled", "references": None}
    assert {name: row["data"] for name, row in by_system.items()} == data
    assert by_system["nat-random"]["complexity"] == figures["complexity_random"]
    assert by_system["at"]["bleu"] == read_json(toy.out / "test-at" / "scores.json")["bleu"]
    path = write_result("toy-modes", claim="c", figures=figures, rows=rows, started=0.0, path=tmp_path)
    assert read_result(path).rows[0]["published_complexity"] is None
    assert modes.PUBLISHED == {"full": 3.67, "random": 3.30, "distilled": 2.64}


@pytest.mark.slow
def test_the_command_gives_the_same_again_and_does_nothing_twice(toy: Recipe, call: Call, tmp_path: Path) -> None:
    folder = toy.out.parent
    words = ["study", "modes", "--out", str(tmp_path / "out"), "--workers", "1"]
    for name in ("at", "nat", "nat-random", "nat-distilled"):
        words += ["--output", f"{name}={toy.out / f'test-{name}'}"]
    for name in ("de", "fr"):
        words += ["--language", f"{name}={folder / f'train.{name}'}"]
    for name in ("full", "random", "distilled"):
        words += ["--training-data", f"{name}={toy.out / name}"]
    code, shown, errors = call(*words)
    assert code == 0, errors
    assert "in one language (> 0.75), %" in shown and "complexity, nats" in shown and "nat-distilled" in shown
    for name in ("modes.json", "modes.html"):
        assert (tmp_path / "out" / name).read_bytes() == (toy.out / "study" / name).read_bytes()
    code, again, _ = call(*words)
    assert code == 0 and "nothing to do" in again and again.endswith(shown)
    code, _, errors = call(*words, "--threshold", "0.9")
    assert code == 2 and "threshold: None there, 0.9 now" in errors
    code, _, errors = call(*words, "--output", f"more={toy.out / 'test-at'}")
    assert code == 2 and "inputs.output more: '(absent)' there" in errors
    code, _, errors = call(*words, "--output", "at=elsewhere")
    assert code == 2 and "--output names 'at' twice" in errors


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Text of three languages, and outputs of two systems."""
    for name in ("de", "fr", "es"):
        (tmp_path / f"train.{name}").write_text(f"{name}a {name}b\n{name}c\n")
    (tmp_path / "one.out").write_text("dea deb\nfra frb frc\n\nesa\n")
    (tmp_path / "two.out").write_text("dea frb\nfra esb dea\n7\nesa\n")
    return tmp_path


def design(folder: Path, languages: tuple[str, ...] = ("de", "fr", "es"), **changed: Any) -> ModesOptions:
    texts = {name: folder / f"train.{name}" for name in languages}
    outputs = {"one": folder / "one.out", "two": folder / "two.out"}
    return ModesOptions(**{"workers": 1, "output": outputs, "language": texts, **changed})


def test_text_files_and_three_languages(text: Path) -> None:
    out = text / "out"
    results = run(design(text), out, Silent())
    one, two = results["systems"]
    assert one["single_language_percent"] == 100 and two["single_language_percent"] == pytest.approx(33.33)
    assert (one["without_words"], one["lines"], two["without_words"]) == (1, 4, 1)
    assert (one["de_percent"], one["fr_percent"], one["es_percent"]) == pytest.approx((33.33, 33.33, 33.33))
    written = read_json(out / "modes.json")
    assert written["posteriors"]["one"][2] is None and results["corpora"] == []
    assert sum(written["posteriors"]["two"][1]) == pytest.approx(1, abs=1e-3)
    page = page_of(results, written["posteriors"])
    assert [list(part.plots) for part in page.parts] == [
        ["Outputs in one language alone, and mixed ones", "one", "two"],
        [],
    ]


def test_four_languages_have_bars_and_no_simplex(text: Path) -> None:
    (text / "train.it").write_text("ita itb\n")
    results = run(design(text, ("de", "fr", "es", "it")), text / "out", Silent())
    assert results["threshold"] == 0.625
    page = page_of(results, read_json(text / "out" / "modes.json")["posteriors"])
    assert [len(part.plots) for part in page.parts] == [1, 0]


def test_case_can_be_ignored(text: Path) -> None:
    (text / "one.out").write_text("DEA Deb\n")
    shares = [
        run(design(text, lowercase=lowercase), text / str(lowercase), Silent())["figures"]
        for lowercase in (False, True)
    ]
    assert [each["single_language_one"] for each in shares] == [0, 100]


def evaluation(folder: Path, references: list[str], num_references: int = 1) -> Path:
    folder.mkdir()
    (folder / "hypotheses.txt").write_text("dea\n" * len(references))
    (folder / "references.txt").write_text("".join(f"{line}\n" for line in references))
    write_json(folder / "scores.json", {"num_references": num_references} if num_references > 1 else {})
    return folder


def test_references_are_measured_where_all_evaluations_have_the_same(tmp_path: Path) -> None:
    one, two = (evaluation(tmp_path / name, ["dea\tfra", "deb"], 2) for name in ("one", "two"))
    other, single = evaluation(tmp_path / "other", ["x", "y"]), evaluation(tmp_path / "single", ["dea\tfra"])
    assert all_outputs({"a": one, "b": two})["references"] == ["dea", "fra", "deb"]
    assert all_outputs({"a": single})["references"] == ["dea\tfra"]
    assert "references" not in all_outputs({"a": one, "b": other})
    mine = tmp_path / "mine.txt"
    mine.write_text("x\n")
    assert all_outputs({"a": one, "references": mine})["references"] == ["x"]
    assert list(all_outputs({"m": mine})) == ["m"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"language": {"de": Path("x")}}, "language names de: expected two or more, the modes of the data"),
        ({"output": {}}, "output names no system"),
        ({"threshold": 0.3}, "'threshold': .*greater than or equal to 0.5"),
    ],
)
def test_designs_that_make_no_study(text: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        design(text, **changed)


def test_a_tokeniser_that_is_not_there_is_named_before_anything_is_read(text: Path) -> None:
    with pytest.raises(UserError, match="unknown tokeniser '13b': did you mean '13a'"):
        check(design(text, target_tokenizer="13b"))


def test_inputs_that_are_no_outputs_texts_or_corpora(text: Path) -> None:
    (text / "empty.out").write_text("\n 7\n")
    (text / "folder").mkdir()
    cases = [
        ({"output": {"x": text / "empty.out"}}, "output x: none of the outputs has a word"),
        ({"output": {"x": text / "folder"}}, r"output x: .*folder: expected a directory that `evaluate` wrote"),
        ({"output": {"x": text / "none"}}, "none: no such file"),
        ({"training_data": {"x": text / "folder"}}, r"folder: no data directory .*`seqdistill prepare` makes one"),
        ({"language": {"de": text / "folder", "fr": text / "train.fr"}}, "folder: no data directory"),
    ]
    for changed, message in cases:
        with pytest.raises(UserError, match=message):
            run(design(text, **changed), text / "out", Silent())
    assert not (text / "out" / "modes.json").exists()


@pytest.mark.slow
def test_data_directories_as_inputs(toy: Recipe) -> None:
    random_ = toy.out / "random"
    assert language_text(random_) == list(DataDirectory.open(random_).train.targets())
    with pytest.raises(UserError, match="full: its sources have several targets, which are of different languages"):
        language_text(toy.out / "full")
    with pytest.raises(UserError, match=r"full: expected a directory that `evaluate` wrote.*found a data directory"):
        all_outputs({"x": toy.out / "full"})


def test_a_recipe_names_stages_in_its_tables(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(RECIPE)
    recipe = read_recipe(tmp_path / "toy.toml", out=tmp_path / "out")
    study = recipe.steps[-1]
    assert study.kind == "modes" and isinstance(study.settings, ModesOptions)
    assert study.settings.output["nat-random"] == tmp_path / "out" / "test-nat-random"
    assert study.settings.language == {"de": Path("train.de"), "fr": Path("train.fr")}
    assert {"test-at", "full", "random", "distilled"} <= set(study.needs) and "train.de" not in study.needs
    full = recipe.steps[0].settings
    assert full.target == [Path("train.de"), Path("train.fr")]  # type: ignore[attr-defined]
