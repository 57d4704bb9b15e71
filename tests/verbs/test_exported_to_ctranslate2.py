"""What `export --to ctranslate2` wrote: what is known of it, who runs it, and that no file takes another's place."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch

import seqdistill
from seqdistill import __version__
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.options import (
    BenchOptions,
    DecodingOptions,
    DistillOptions,
    EvaluateOptions,
    ExportOptions,
    TranslateOptions,
)
from seqdistill.progress import Silent
from seqdistill.runtime.conversion import convert
from seqdistill.runtime.converted import open_converted
from seqdistill.runtime.ctranslate2_engine import CTranslate2Engine, compute_types
from seqdistill.runtime.deployed import Asked, deployed, systems_of
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.languages import Languages
from seqdistill.verbs.bench import bench
from seqdistill.verbs.engine import open_engine
from seqdistill.verbs.translate import translate_lines
from seqdistill.vocabulary.vocabularies import train_vocabularies

Call = Callable[..., tuple[int, str, str]]
WORDS = ["a", "dog", "runs", "on", "and", "cat", "sees", "red", "trees"]
SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
LANGUAGES = Languages("en", "zh", None)


def pairs(count: int, seed: int) -> list[SentencePair]:
    draw = random.Random(seed)
    lines = [draw.choices(WORDS, k=draw.randint(2, 6)) for _ in range(count)]
    return [SentencePair(" ".join(line), " ".join(word[::-1] for word in line)) for line in lines]


LINES = [pair.source for pair in pairs(30, seed=5)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Transformer with random weights, and exports of it: float32 with a shortlist, int8 without."""
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", pairs(20, seed=2))
    train = ParallelCorpus.from_pairs("train", pairs(200, seed=1))
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=50)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    torch.manual_seed(1)
    model = create_model("transformer", tokenizers, **SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    save_model(model, tokenizers, folder / "transformer", languages=LANGUAGES)
    (folder / "lines").write_text("".join(f"{line}\n" for line in LINES))
    export(folder, folder / "vmap", precision="float32", shortlist=folder / "data")
    export(folder, folder / "int8", precision="int8")
    return folder


def export(world: Path, out: Path, **options: Any) -> None:
    settings = ExportOptions(model=world / "transformer", to="ctranslate2", verify_lines=0, **options)
    run_stage("export", settings, out, Silent(), title="export")


def outputs(model: Path, lines: list[str] = LINES, **options: Any) -> list[str]:
    return list(translate_lines(TranslateOptions(model=model, **{"max_length": 9, "beam": 2, **options}), lines))


def test_it_says_what_it_is(world: Path) -> None:
    loaded = load_model(world / "transformer")
    kept = json.loads((world / "int8" / "seqdistill.json").read_text())
    assert kept["seqdistill"] == __version__ and kept["family"] == "transformer"
    files = {path.relative_to(world / "int8").as_posix() for path in (world / "int8").rglob("*") if path.is_file()}
    assert set(kept["files"]) == {name for name in files if name not in ("seqdistill.json", "manifest.json", ".lock")}
    found = open_converted(world / "int8")
    assert (found.precision, found.vmap, found.model) == ("int8", False, loaded.fingerprint)
    assert found.languages == LANGUAGES and found.tokenizers.fingerprint == loaded.tokenizers.fingerprint
    assert found.parameters == sum(parameter.numel() for parameter in loaded.model.parameters())
    assert open_converted(world / "vmap").vmap and open_converted(world / "vmap").precision == "float32"


def test_no_other_file_takes_the_place_of_one(world: Path, tmp_path: Path) -> None:
    train_vocabularies([(each.source, each.target) for each in pairs(100, seed=7)], vocab_size=45).save(
        tmp_path / "other"
    )
    for name, put, message in [
        ("tokenizer", tmp_path / "other", "tokenizer/.*: was cut or altered"),
        ("vmap.txt", world / "int8" / "config.json", r"vmap\.txt: was cut or altered"),
    ]:
        copy = shutil.copytree(world / "vmap", tmp_path / name)
        shutil.copytree(put, copy / name, dirs_exist_ok=True) if put.is_dir() else shutil.copy(put, copy / name)
        with pytest.raises(UserError, match=message):
            outputs(copy)
    # A whole tokenizer with hashes that fit, of another model.
    description = read_sealed(world / "int8" / "seqdistill.json", remedy="")
    copy = shutil.copytree(world / "int8", tmp_path / "whole")
    for key, value, message in [
        ("tokenizer", "0" * 64, "tokenizer: is not the tokenizer of this model"),
        ("format", 0, r"format 0, but this version of seqdistill reads format 1: export"),
        ("parameters", "many", "'parameters' is missing or of another kind"),
        ("languages", {"x": 1}, "'languages' are none"),
    ]:
        write_sealed(copy / "seqdistill.json", description | {key: value})
        with pytest.raises(UserError, match=message):
            outputs(copy)


def test_every_verb_runs_it_and_says_so(world: Path, tmp_path: Path, call: Call) -> None:
    """As CTranslate2 runs the trained model in the same precision; with a shortlist, line by line."""
    assert outputs(world / "int8") == outputs(world / "transformer", engine="ctranslate2", compute_type="int8")
    by_line = CTranslate2Engine(world / "vmap", load_model(world / "transformer").tokenizers, compute_type="float32")
    by_line.vmap = True
    options = DecodingOptions(beam=2, max_length=9)
    alone = [by_line.decode([line], options)[0][0].text for line in LINES]
    assert outputs(world / "vmap") == alone and outputs(world / "vmap", LINES[::-1]) == alone[::-1]
    engine = open_engine(TranslateOptions(model=world / "vmap")).engine
    assert engine.fingerprint["model"] == load_model(world / "transformer").fingerprint
    assert engine.fingerprint["precision"] == "float32" and len(engine.fingerprint["shortlist"]) == 64

    words = ("translate", "--beam", "2", "--max-length", "9", "--model", str(world / "int8"))
    code, out, errors = call(*words, stdin="".join(f"{line}\n" for line in LINES).encode())
    assert (code, out.splitlines()) == (0, outputs(world / "int8"))
    assert errors == f"engine: ctranslate2 {ctranslate2.__version__} int8\n"
    assert seqdistill.load(world / "int8", beam=2, max_length=9).translate(LINES) == outputs(world / "int8")

    shared: dict[str, Any] = {"data": world / "data", "beam": 2, "max_length": 9}
    text = {"source": world / "lines", "reference": [world / "lines"], "beam": 2, "max_length": 9}
    settings = EvaluateOptions(model=world / "int8", speed_lines=0, metrics="bleu,chrf", **text)
    assert settings.recorded()["engine"] == "ctranslate2"
    scores = run_stage("evaluate", settings, tmp_path / "scores", Silent(), title="t").results
    assert scores["engine"] == f"ctranslate2 {ctranslate2.__version__} int8"
    kept = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert "tok:zh" in kept["signatures"]["bleu"], "the model knows what words are"
    settings = DistillOptions(teacher=world / "int8", **shared)
    run_stage("distill", settings, tmp_path / "distilled", Silent(), title="t")
    trained = DistillOptions(teacher=world / "transformer", engine="ctranslate2", **shared)
    run_stage("distill", trained, tmp_path / "by-trained", Silent(), title="t")
    stores = [DataDirectory.open(tmp_path / name).train for name in ("distilled", "by-trained")]
    assert list(stores[0].targets()) == list(stores[1].targets())
    reranked = [outputs(world / "transformer", engine="torch", rerank=world / name) for name in ("vmap", "transformer")]
    assert reranked[0] == reranked[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "is an exported model, which the engine ctranslate2 runs: leave out --engine torch"),
        ({"sampling": True, "beam": 1}, "CTranslate2 draws samples that depend on the batch"),
        ({"expert": 1}, "whose expert was chosen then"),
        ({"compute_type": "int3"}, "compute type 'int3' is not available on this processor"),
        ({"iterations": 3}, "iterations 3 is for a model that is refined in iterations"),
    ],
)
def test_what_it_cannot_do_is_named(world: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        outputs(world / "int8", **options)


def test_a_precision_that_the_processor_lacks(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outputs(world / "int8", compute_type="float32")
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda device: {"float32"})
    assert compute_types() == ["float32"]
    with pytest.raises(UserError, match=r"int8: was exported in int8, which .*: give another compute type \(float32\)"):
        outputs(world / "int8")
    assert outputs(world / "int8", compute_type="float32") == expected
    with deployed(world / "transformer") as found:
        assert found.places["ctranslate2"].compute_type == "float32"


def test_bench_measures_what_would_be_deployed(world: Path, tmp_path: Path) -> None:
    """A trained model as its int8 conversion, an exported one in its own precision."""
    with deployed(world / "transformer", Asked("ctranslate2")) as found:
        place, (system,) = found.places["ctranslate2"], systems_of([found])
        folder = Path(place.folder)
        assert open_converted(folder).precision == place.compute_type == "int8"
        there = [path for path in folder.rglob("*") if path.is_file()]
        assert system.disk_mb == sum(path.stat().st_size for path in there) / 1e6
        exact = {path.name: path.read_bytes() for path in (world / "int8").iterdir() if path.suffix == ".bin"}
        assert (folder / "model.bin").read_bytes() == exact["model.bin"]
    settings = BenchOptions(
        models=[world / "vmap"],
        source=world / "lines",
        reference=[world / "lines"],
        **{"rounds": 1, "speed_lines": 2, "samples": 100, "max_length": 9, "beam": 2},
    )
    (row,) = bench(settings, tmp_path, Silent())["systems"]
    assert row["precision"] == "float32" and "tok:zh" in row["bleu_signature"]
    assert row["parameters"] == open_converted(world / "vmap").parameters
    written = (tmp_path / "hypotheses" / "1.txt").read_text().splitlines()
    assert written == outputs(world / "vmap")
    files = [path for path in (world / "vmap").rglob("*") if path.is_file()]
    needed = [path for path in files if path.name not in ("manifest.json", ".lock")]
    assert row["disk_mb"] == round(sum(path.stat().st_size for path in needed) / 1e6, 2)


def test_weights_quantised_on_disk_are_those_quantised_when_loaded(world: Path, tmp_path: Path) -> None:
    loaded = load_model(world / "transformer")
    convert(loaded, tmp_path / "float32")
    late = CTranslate2Engine(tmp_path / "float32", loaded.tokenizers, compute_type="int8")
    found = late.decode(LINES, DecodingOptions(beam=2, max_length=9))
    assert [row[0].text for row in found] == outputs(world / "int8")
