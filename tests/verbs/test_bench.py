"""`bench`: turns, medians and scores of made-up systems; real ones with both engines; cut off; mistakes."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sacrebleu
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.native import build, library
from seqdistill.options import BenchOptions, EvaluateOptions, ExportOptions
from seqdistill.progress import Silent
from seqdistill.runtime import measured
from seqdistill.runtime.conversion import convert
from seqdistill.runtime.deployed import Asked, deployed, names_of, systems_of
from seqdistill.runtime.latency import Timed
from seqdistill.runtime.measured import Batch, Load, MeasuredSystem
from seqdistill.runtime.one_system import Place
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.verbs import bench
from seqdistill.verbs.engine import decoding_options, open_engine
from seqdistill.verbs.systems import row_of, systems_in

Call = Callable[..., tuple[int, str, str]]

SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
WORDS = ["a", "dog", "runs", "on", "and", "cat"]
PAIRS = [SentencePair(" ".join(words), " ".join(words[::-1])) for words in permutations(WORDS, 3)]
HELD_OUT = [SentencePair(" ".join(words), " ".join(words[::-1])) for words in permutations(WORDS, 2)][:12]
SHORT = ("--max-length", "8", "--speed-lines", "3", "--rounds", "2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory and models with random weights."""
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("test", HELD_OUT)
    train = ParallelCorpus.from_pairs("train", PAIRS)
    prepare(train=train, valid=held_out, test=held_out, out=folder / "data", vocab_size=26)
    tokenizers = DataDirectory.open(folder / "data").tokenizers
    for name in ("transformer", "sru", "cmlm"):
        torch.manual_seed(1)
        sizes = {"dim": 16} if name == "sru" else SIZES
        save_model(create_model(name, tokenizers, **sizes), tokenizers, folder / name)
    convert(load_model(folder / "transformer"), folder / "converted")
    (folder / "blank").write_text(" \n\u200b\n")
    (folder / "lines").write_text("a dog\na cat\n")
    return folder


@pytest.fixture(scope="module")
def exported(world: Path) -> Path:
    """The SRU for the compiled engine, where that can be built."""
    try:
        build.build()
    except UserError as error:
        pytest.skip(str(error))
    settings = ExportOptions(model=world / "sru", verify_lines=0)
    run_stage("export", settings, world / "exported", Silent(), title="export")
    return world / "exported"


class FakeSystem:
    """Writes a line's words backwards, all but the last `missing`; each round takes another number of milliseconds."""

    order: list[str]
    """Whose turn it was, shared by all."""
    milliseconds: dict[str, list[float]]
    """Of each system's first sentence, round by round; the k-th one takes k times as long."""
    missing: dict[str, int]
    fails_at: int
    """Turn that ends in an error; -1: none."""

    def __init__(self, name: str, place: Place, *, cores: Sequence[int], options: dict[str, Any]) -> None:
        self.name, self.place, self.cores, self.options = name, place, cores, options

    def opened(self) -> dict[str, Any]:
        refused = {"iterations": "iterations 3: not refined"} if self.name != "cmlm" else {}
        return {"precision": "float32", "instructions": "", "refused": refused}

    def together(self, lines: Sequence[str]) -> Batch:
        return Batch(2.0, [" ".join(line.split()[::-1][self.missing.get(self.name, 0) :]) for line in lines])

    def one_by_one(self, lines: Sequence[str]) -> list[float]:
        return []

    def timed(self, single: Sequence[str], batch: Sequence[str]) -> Timed:
        if len(self.order) == self.fails_at:
            raise KeyboardInterrupt
        turn = self.order.count(self.name)
        self.order.append(self.name)
        first = self.milliseconds[self.name][turn]
        return Timed([first * number for number in range(1, len(single) + 1)], len(batch) / first)

    def __enter__(self) -> FakeSystem:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSystem]:
    FakeSystem.order, FakeSystem.fails_at = [], -1
    FakeSystem.milliseconds = {"transformer": [10.0, 20.0, 60.0], "sru": [1.0, 5.0, 3.0], "cmlm": [4.0, 4.0, 4.0]}
    FakeSystem.missing = {"sru": 1}
    monkeypatch.setattr(bench, "MeasuredSystem", FakeSystem)
    monkeypatch.setattr(bench, "load_alone", lambda *_: Load(88.125, 58.375))
    return FakeSystem


def options(world: Path, *models: str, **given: Any) -> BenchOptions:
    shared = {"data": world / "data", "rounds": 3, "speed_lines": 3, "samples": 100}
    return BenchOptions(models=[world / name for name in models], **{**shared, **given})


def test_systems_take_turns_and_medians_are_over_rounds(world: Path, tmp_path: Path, fake: type[FakeSystem]) -> None:
    results = bench.bench(options(world, "transformer", "sru", engine="torch"), tmp_path, Silent())
    assert fake.order == ["transformer", "sru", "sru", "transformer", "transformer", "sru"]
    teacher, student = results["systems"]
    assert [teacher["system"], student["system"]] == ["transformer", "sru"]
    assert [teacher["latency_ms"], teacher["latency_ms_low"], teacher["latency_ms_high"]] == [40, 20, 120]
    assert student["latency_ms"] == 6, "the median of 2, 10 and 6, each the middle one of three sentences"
    assert student["latency_p95_ms"] == pytest.approx(3 * 2.9), "between the second sentence and the third"
    assert student["sentences_per_second"] == round(statistics.median(12 / ms for ms in (1, 5, 3)), 4)
    assert [student["times_faster"], student["times_faster_low"]] == [10, 4], "within a round: 10, 4 and 20"
    assert (teacher["times_faster"], teacher["times_faster_high"]) == (1, 1)
    assert (student["load_ms"], student["memory_mb"]) == (88.1, 58.4)
    weights = sum(path.stat().st_size for path in (world / "sru").rglob("*") if path.is_file())
    assert student["disk_mb"] == round(weights / 1e6, 2)
    assert results["machine"]["cores_used"] == 1 and results["machine"]["cpu"]
    assert json.loads((tmp_path / bench.RESULTS).read_text()) == results


def test_beside_a_bench_systems_show_no_speed_of_the_engine_that_scored_them(
    world: Path, tmp_path: Path, fake: type[FakeSystem]
) -> None:
    settings = EvaluateOptions(model=world / "sru", data=world / "data", beam=1, max_length=8, speed_lines=2)
    run_stage("evaluate", settings, tmp_path / "scored", Silent(), title="scored")
    assert "sentences_per_second" in row_of(*systems_in(tmp_path))
    run_stage("bench", options(world, "transformer", "sru"), tmp_path / "speed", Silent(), title="speed")
    row = row_of(*systems_in(tmp_path))
    assert "bleu" in row and not {"sentences_per_second", "latency_ms"} & {*row}


def test_scores_and_intervals_are_sacrebleus(world: Path, tmp_path: Path, fake: type[FakeSystem]) -> None:
    results = bench.bench(options(world, "transformer", "sru", samples=1000), tmp_path, Silent())
    texts = [line.target.split()[1:] for line in HELD_OUT]
    written = (tmp_path / bench.HYPOTHESES / "2.txt").read_text().splitlines()
    assert sorted(written) == sorted(" ".join(words) for words in texts)
    sources = DataDirectory.open(world / "data").test
    assert sources is not None
    references = [" ".join(source.split()[::-1]) for source in sources.sources()]
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        score: Any = metric.corpus_score(written, [references], n_bootstrap=1000)
        row = results["systems"][1]
        assert row[name] == pytest.approx(score.score, abs=1e-3) and 0 < row["chrf"] < 100
        assert (row[f"{name}_high"] - row[f"{name}_low"]) / 2 == pytest.approx(score._ci, rel=0.05, abs=1e-3)
        assert row[f"{name}_signature"].endswith("|bs:1000|seed:12345")
    assert results["systems"][0]["bleu"] <= 100 == round(results["systems"][0]["chrf"])


def test_a_bench_that_was_cut_off_goes_on_after_the_last_whole_round(
    world: Path, tmp_path: Path, fake: type[FakeSystem]
) -> None:
    settings, out = options(world, "transformer", "sru"), tmp_path / "out"
    whole = run_stage("bench", settings, tmp_path / "whole", Silent(), title="b").results["systems"]
    fake.order, fake.fails_at = [], 3
    with pytest.raises(KeyboardInterrupt):
        run_stage("bench", settings, out, Silent(), title="b")
    fake.order, fake.fails_at = ["transformer", "sru"], -1  # the first round was whole, the second one was not
    assert run_stage("bench", settings, out, Silent(), title="b").results["systems"] == whole
    assert fake.order[2:] == ["sru", "transformer", "transformer", "sru"]
    assert not run_stage("bench", settings, out, Silent(), title="b").done_now


def test_turns_on_another_processor_are_not_mixed(
    world: Path, tmp_path: Path, fake: type[FakeSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = options(world, "transformer", "sru")
    fake.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        bench.bench(settings, tmp_path, Silent())
    fake.order, fake.fails_at = [], -1
    monkeypatch.setattr(bench, "processor", lambda: {"cpu": "another", "instructions": []})
    bench.bench(settings, tmp_path, Silent())
    assert len(fake.order) == 6


def test_an_option_goes_to_the_systems_that_have_it(world: Path, tmp_path: Path, fake: type[FakeSystem]) -> None:
    bench.bench(options(world, "transformer", "cmlm", iterations=3), tmp_path / "one", Silent())
    with pytest.raises(UserError, match=r"^transformer: iterations 3: not refined"):
        bench.bench(options(world, "transformer", "sru", iterations=3), tmp_path / "none", Silent())


def test_the_page_and_the_plot_show_every_system(world: Path, tmp_path: Path, fake: type[FakeSystem]) -> None:
    bench.bench(options(world, "transformer", "sru"), tmp_path, Silent())
    svg = (tmp_path / bench.PLOT).read_text()
    ElementTree.fromstring(svg)
    page = (tmp_path / bench.PAGE).read_text()
    for shown in ("transformer", "sru", "BLEU", "milliseconds a sentence"):
        assert shown in svg and shown in page
    assert "http" not in page.replace("http://www.w3.org", "") and page.count("<svg") == 4
    assert "40.000 [20.000, 120.000]" in page, "a value with its lowest and highest round"


@pytest.mark.slow
def test_every_engine_from_the_command_line_scores_as_evaluate_does(
    world: Path, exported: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "LOADS", 1)
    models = (world / "transformer", world / "converted", exported)
    words = ("bench", *map(str, models), "--data", str(world / "data"), *SHORT, "--every-engine")
    code, out, errors = call(*words, "--out", str(tmp_path / "out"))
    assert code == 0, errors
    rows = json.loads((tmp_path / "out" / bench.RESULTS).read_text())["systems"]
    assert [(row["system"], row["engine"], row["precision"]) for row in rows] == [
        ("transformer, ctranslate2", "ctranslate2", "int8"),
        ("transformer, compiled", "compiled", "int8"),
        ("transformer, torch", "torch", "float32"),
        ("converted", "ctranslate2", "float32"),
        ("exported", "compiled", "int8"),
    ]
    for row in rows:
        assert row["system"] in out and row["chrf"] > 0
        assert all(row[name] > 0 for name in ("latency_ms", "sentences_per_second", "load_ms", "memory_mb"))
        settings = EvaluateOptions(
            model=exported if row["system"] == "exported" else world / "transformer",
            data=world / "data",
            engine=row["engine"],
            max_length=8,
            speed_lines=0,
            metrics="bleu,chrf",
        )
        scores = run_stage("evaluate", settings, tmp_path / row["system"], Silent(), title="e").results
        assert (row["bleu"], row["chrf"]) == (scores["bleu"], scores["chrf"])
    small, _, torchs, _, smallest = (row["memory_mb"] for row in rows)
    assert smallest < small < torchs - 100, "each process imports what its engine needs"
    assert rows[4]["vectors"] in library.runnable()
    code, out, _ = call(*words, "--out", str(tmp_path / "out"))
    assert code == 0 and "nothing to do" in out


def test_a_model_is_run_as_it_is_deployed(world: Path, exported: Path) -> None:
    for name, engines in {
        "transformer": ["ctranslate2", "compiled", "torch"],
        "sru": ["compiled", "torch"],
        "exported": ["compiled"],
        "converted": ["ctranslate2"],
    }.items():
        with deployed(world / name) as found, deployed(world / name, Asked(every=True)) as every:
            assert list(found.places) == engines[:1] and list(every.places) == engines
            assert [system.name for system in systems_of([found])] == [name]


def test_options_reach_each_model_and_text_is_the_engines(world: Path) -> None:
    place = Place("torch", str(world / "cmlm"))
    given = {"beam": 2, "max_length": 8, "iterations": 2, "min_length": 3}
    lines = [pair.source for pair in HELD_OUT]
    with MeasuredSystem("cmlm", place, cores=[min(_cores())], options=given) as system:
        said = system.opened()
        assert said["engine"] == "torch" and set(said["refused"]) == {"min_length"}
        assert "autoregressive" in said["refused"]["min_length"]
        texts = system.together(lines).texts
        assert len(system.one_by_one(lines[:2])) == 2
    settings = EvaluateOptions(model=world / "cmlm", data=world / "data", beam=2, max_length=8, iterations=2)
    engine = open_engine(settings).engine
    assert texts == [found[0].text for found in engine.decode(lines, decoding_options(settings, engine))]


def test_a_process_that_fails_or_is_killed_says_so(world: Path) -> None:
    with (
        MeasuredSystem("gone", Place("torch", str(world / "nowhere")), cores=_cores(), options={}) as system,
        pytest.raises(UserError, match=r"^gone: .*nowhere: no such directory"),
    ):
        system.opened()
    with MeasuredSystem("big", Place("torch", str(world / "sru")), cores=_cores(), options={}) as system:
        system._process.kill()
        with pytest.raises(UserError, match=r"^big: its process was ended by SIGKILL"):
            system.opened()


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing argument 'models'"),
        (("data",), "data: holds no config.json"),
        (("nowhere",), "nowhere: no such file or directory"),
        (("sru", "sru"), "sru: is given twice"),
        (("sru", "--engine", "ctranslate2"), "sru: the engine ctranslate2 cannot run this model, but "),
        (("converted", "--engine", "torch"), "the engine torch cannot run this model, but ctranslate2 can"),
        (("sru", "--engine", "torch", "--every-engine"), "both say what computes; keep one"),
        (("sru", "--cores", "1000"), "cores 1000: expected 1 to"),
        (("sru", "--speed-lines", "0"), "speed_lines 0 leaves nothing to time"),
        (("sru", "--sampling"), "No such option"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    world: Path, tmp_path: Path, call: Call, words: tuple[str, ...], message: str
) -> None:
    paths = [str(world / word) if word.isalpha() and word not in ("torch", "ctranslate2") else word for word in words]
    code, _, errors = call("bench", *paths, "--data", str(world / "data"), "--out", str(tmp_path / "out"))
    assert code == 2 and message in errors and errors.count("\n") <= 2, errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({}, "bench needs either --data"),
        ({"source": "lines"}, "go together"),
        ({"source": "blank", "reference": "blank"}, "no sentence with words"),
        ({"source": "lines", "reference": "blank", "data": "data"}, "bench needs either --data"),
    ],
)
def test_a_bench_needs_one_text(world: Path, tmp_path: Path, text: dict[str, str], message: str) -> None:
    settings = BenchOptions(models=[world / "sru"], **{name: world / value for name, value in text.items()})
    with pytest.raises(UserError, match=message):
        bench.bench(settings, tmp_path, Silent())


def test_a_directory_of_ctranslate2_is_checked(world: Path, tmp_path: Path) -> None:
    def read(folder: Path) -> Iterable[str]:
        with deployed(folder) as found:
            return list(found.places)

    assert list(read(world / "converted")) == ["ctranslate2"]
    cut = shutil.copytree(world / "converted", tmp_path / "cut")
    whole = (cut / "model.bin").read_bytes()
    (cut / "model.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model\.bin: was cut or altered"):
        read(cut)
    (cut / "seqdistill.json").unlink()
    with pytest.raises(UserError, match="cut: holds a model of CTranslate2, which CTranslate2 alone can use"):
        read(cut)


def test_names_are_as_short_as_they_can_be() -> None:
    paths = [Path("runs/a/student"), Path("runs/b/student"), Path("teacher"), Path("b/x/y"), Path("c/x/y")]
    assert names_of(paths) == ["a/student", "b/student", "teacher", "b/x/y", "c/x/y"]
