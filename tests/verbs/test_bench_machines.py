"""`bench` on machines that lack something: a cache that can be written, the compiled engine, what only Linux has."""

from __future__ import annotations

import os
import resource
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from native.compiled import engine_sets

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.files import utf8_name
from seqdistill.jobs import side_by_side
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.native import library
from seqdistill.options import BenchOptions, DecodingOptions
from seqdistill.progress import Silent
from seqdistill.runtime import latency, measured
from seqdistill.runtime.deployed import Asked, deployed
from seqdistill.runtime.engines import create_engine
from seqdistill.runtime.measured import MeasuredSystem
from seqdistill.runtime.one_system import Place, _answers
from seqdistill.shown import speeds
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.threads import core_numbers, keep_to, usable_cores
from seqdistill.verbs.bench import bench

WORDS = ["a", "dog", "runs", "on", "and", "cat"]


def pairs(words: int) -> list[SentencePair]:
    return [SentencePair(" ".join(each), " ".join(each[::-1])) for each in permutations(WORDS, words)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory and two models with random weights."""
    engine_sets()
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", pairs(2)[:12])
    train = ParallelCorpus.from_pairs("train", pairs(3))
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=26)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    torch.manual_seed(1)
    small = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
    for name, sizes in (("sru", {"dim": 16}), ("transformer", small)):
        save_model(create_model(name, tokenizers, **sizes), tokenizers, folder / name)
    return folder


def options(world: Path, *models: str, **given: Any) -> BenchOptions:
    shared = {"data": world / "data", "rounds": 1, "speed_lines": 2, "samples": 100, "max_length": 8}
    return BenchOptions(models=[world / name for name in models], **{**shared, **given})


def texts(system: MeasuredSystem) -> list[str]:
    with system:
        system.opened()
        return system.together([pair.source for pair in pairs(2)[:12]]).texts


@pytest.mark.parametrize("engine", ["compiled", "ctranslate2"])
def test_conversions_last_as_long_as_they_are_measured(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Also where the cache is a file, so that they are temporary; afterwards nothing is left."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQDISTILL_CACHE", str(tmp_path / "file"))
    name = "sru" if engine == "compiled" else "transformer"
    with deployed(world / name, Asked(engine, compute_type="float32")) as found:
        place = found.places[engine]
        lines = texts(MeasuredSystem("it", place, cores=core_numbers()[:1], options={"max_length": 8, "beam": 1}))
    assert not Path(place.folder).exists()
    plain = Place("torch", str(world / name))
    assert lines == texts(MeasuredSystem("it", plain, cores=core_numbers()[:1], options={"max_length": 8, "beam": 1}))


def test_an_engine_that_is_not_built_is_named(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "missing", lambda: "the compiled engine is not built: run something")
    with pytest.raises(UserError, match="sru: the compiled engine is not built: run something"):
        bench(options(world, "sru", engine="compiled"), tmp_path, Silent())
    with deployed(world / "transformer") as found:
        assert found.note == "", "it is deployed with CTranslate2 in any case"
    with deployed(world / "transformer", Asked(every=True)) as found:
        assert [*found.places] == ["ctranslate2", "torch"] and "not built" in found.note
    monkeypatch.setattr(measured, "LOADS", 1)
    results = bench(options(world, "sru"), tmp_path, Silent())
    assert results["systems"][0]["engine"] == "torch"
    said = [part for part in speeds(results) if isinstance(part, str)]
    assert any("sru: not measured in the compiled engine, which can run it: the compiled" in line for line in said)
    assert "run something" in (tmp_path / "bench.html").read_text()


def test_options_are_tried_together(world: Path) -> None:
    """A least length above the default of the longest was refused beside a longer one."""
    given = {"beam": 1, "min_length": 300, "max_length": 400, "max_ratio": 1000.0}
    for engine in ("torch", "compiled"):
        with (
            deployed(world / "sru", Asked(engine)) as found,
            MeasuredSystem("sru", found.places[engine], cores=core_numbers()[:1], options=given) as system,
        ):
            assert system.opened()["refused"] == {}
            (text,) = system.together(["a dog"]).texts
            tokens = load_model(world / "sru").tokenizers.target.encode(text)
            assert len(tokens) > 100, "pieces that were joined are fewer when they are cut again"


def test_on_a_system_that_binds_nothing_and_has_no_proc(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS: the names are not there."""
    before = latency.peak_mb()
    for name in ("sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(latency, "STATUS", tmp_path / "none")
    assert core_numbers() == list(range(os.cpu_count() or 1)) and usable_cores() == os.cpu_count()
    keep_to([0])
    assert before * 0.99 <= latency.peak_mb() <= before * 2 + 200, "it counts more, but in the same unit"
    monkeypatch.setattr(latency.sys, "platform", "darwin")
    assert latency.peak_mb() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    place = {"engine": "torch", "folder": str(world / "sru")}
    first = {"place": place, "cores": [0], "options": {"max_length": 8, "beam": 1}}
    assert set(next(_answers(iter([first | {"alone": ["a dog"]}])))) == {"load_ms", "peak_mb"}
    answers = _answers(iter([first, {"batch": ["a dog", "a cat"]}]))
    assert next(answers)["engine"] == "torch"
    engine = create_engine("torch", load_model(world / "sru"))
    expected = engine.decode(["a dog", "a cat"], DecodingOptions(beam=1, max_length=8))
    assert next(answers)["texts"] == [row[0].text for row in expected]
    with pytest.raises(UserError, match="--jobs 0: expected 1 to"):
        next(side_by_side([], Silent, jobs=0))
    with pytest.raises(UserError, match=r"cores 1000: expected 1 to"):
        bench(options(world, "sru", cores=1000), tmp_path, Silent())


def test_a_name_of_a_file_needs_no_proc_where_it_is_utf8(tmp_path: Path) -> None:
    (tmp_path / "ä").write_text("x")
    with utf8_name(tmp_path / "ä") as name:
        assert name == str(tmp_path / "ä")
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.write_text("y")
    with utf8_name(odd) as name:
        name.encode()
        assert Path(name).read_text() == "y"
