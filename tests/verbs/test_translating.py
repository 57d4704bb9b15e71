"""`translate` in a pipe: what comes out, in which order, by which engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from native.compiled import engine_sets
from runtime.exported import exported, sentences, tokenizers, trained

import seqdistill
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.native import library
from seqdistill.native.student import MOST_TOKENS
from seqdistill.options import TranslateOptions
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.verbs.engine import open_engine
from seqdistill.verbs.translate import translate_lines

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained models of one vocabulary, and an export."""
    engine_sets()
    folder, vocabularies = tmp_path_factory.mktemp("models"), tokenizers()
    for name in ("sru", "transformer", "nat"):
        trained(name, folder / name, vocabularies)
    exported(trained("sru", folder / "sru"), folder / "sru-out")
    return folder


def told(models: Path, **options: Any) -> tuple[list[str], list[str]]:
    """Translations, and what is said beside them."""
    said: list[str] = []
    settings = TranslateOptions(model=models / "transformer", max_length=9, **options)
    return list(translate_lines(settings, sentences(12), tell=said.append)), said


@pytest.mark.parametrize("name", ["sru", "sru-out"])
def test_a_line_too_long_for_the_engine_comes_after_those_before_it(models: Path, call: Call, name: str) -> None:
    lines = sentences(5)
    text = "\n".join([*lines, "dog " * (MOST_TOKENS + 1), "the fox"]).encode()
    given = ("translate", "--model", str(models / name), "--beam", "1", "--max-length", "8")
    code, out, errors = call(*given, stdin=text)
    assert code == 2 and "line 6 has" in errors and "--engine torch" in errors
    assert out == call(*given, stdin="\n".join(lines).encode())[1] and len(out.splitlines()) == 5


def test_where_ours_is_not_built_greedy_lines_come_from_ctranslate2(models: Path, monkeypatch) -> None:
    expected = {beam: told(models, beam=beam, engine="torch")[0] for beam in (1, 3)}
    monkeypatch.setattr(library, "missing", lambda: "no compiler: install one")
    lines, (engine,) = told(models, beam=1)
    assert lines == expected[1] and engine.startswith("engine: ctranslate2")
    assert engine.endswith(" float32 (no compiler: install one)")
    assert told(models, beam=3) == (expected[3], [without := "engine: torch float32 (no compiler: install one)"])
    (models / "allowed").write_text("▁the ▁fox\n" * 12)
    assert told(models, beam=1, allowed_file=models / "allowed")[1] == [without]
    assert told(models, beam=1, engine="torch")[1] == []


def test_the_engine_asked_for_also_reranks(models: Path) -> None:
    given: dict[str, Any] = {"model": models / "nat", "beam": 3, "compute_type": "float32", "max_ratio": 1.5}
    found = {}
    for engine, name in (("compiled", "sru"), ("ctranslate2", "transformer"), ("torch", "sru"), ("auto", "sru")):
        model = given["model"] if engine != "ctranslate2" else models / "transformer"
        settings = TranslateOptions(**given | {"model": model}, engine=engine, rerank=models / name)
        opened = open_engine(settings).engine
        assert isinstance(opened, RerankingEngine)
        assert opened.teacher.fingerprint["engine"].split()[0] == ("torch" if engine == "auto" else engine)
        found[engine] = list(translate_lines(settings, sentences(20)))
    assert found["compiled"] == found["torch"] == found["auto"]
    assert found["torch"] != list(translate_lines(TranslateOptions(**given), sentences(20)))
    other = TranslateOptions(**given | {"model": models / "transformer"}, engine="ctranslate2", rerank=models / "sru")
    assert open_engine(other).engine.fingerprint["rerank"]["engine"] == "torch"


LIGHT = """
import sys, time
from importlib.abc import MetaPathFinder
ABSENT = sys.argv.pop(1).split(",")
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
"""Programs begin with it: the modules of their first argument are as if they were not installed."""
LOADING = """
import seqdistill
print(seqdistill.load(sys.argv[1], beam=1).translate([sys.argv[2]])[0])
"""
TRANSLATING = """
sys.argv = sys.argv[1:]
from seqdistill.cli import run
code = run()
peak = next(int(row.split()[1]) / 1024 for row in open("/proc/self/status") if row.startswith("VmHWM"))
print(time.process_time(), peak, file=sys.stderr)
sys.exit(code)
"""
OTHERS = "torch,numpy,pyarrow,ctranslate2,safetensors,rich,regex,jaxtyping,sacrebleu,sacremoses,matplotlib,jinja2,nltk"


def run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIGHT + program, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True)


def test_an_exported_model_is_loaded_with_sentencepiece_alone(models: Path) -> None:
    done = run(LOADING, f"{OTHERS},pydantic,typer", str(models / "sru-out"), "the quick fox")
    assert done.returncode == 0, done.stderr
    assert done.stdout == seqdistill.load(models / "sru-out", beam=1).translate(["the quick fox"])[0] + "\n"


def test_the_command_line_translates_without_the_whole_program(models: Path) -> None:
    """0.25 s of processor time and 40 MB where the import of torch alone takes 1.5 s and 200 MB."""
    lines = [*sentences(5), "", "the quick fox"]
    words = ("seqdistill", "translate", "--model", str(models / "sru-out"), "--max-length", "9")
    for options, given in (((), {}), (("--prefix", "fox", "--beam", "2"), {"prefix": "fox", "beam": 2})):
        done = run(TRANSLATING, OTHERS, *words, *options, stdin="\n".join(lines))
        assert done.returncode == 0, done.stderr
        expected = TranslateOptions(model=models / "sru", max_length=9, engine="torch", **given)
        assert done.stdout.splitlines() == list(translate_lines(expected, lines))
        engine, measured = done.stderr.splitlines()
        assert engine == "engine: compiled float32"
        seconds, megabytes = map(float, measured.split())
        assert seconds < 0.5 and megabytes < 60
    done = run(TRANSLATING, OTHERS, *words, "--beam", "0")
    assert done.returncode == 2 and done.stderr.startswith("error: seqdistill translate: 'beam': ")
    done = run(TRANSLATING, OTHERS, *words, "--sampling")
    assert done.returncode == 2 and "draws no samples: use --engine torch" in done.stderr
    done = run(TRANSLATING, OTHERS, "seqdistill", "translate", "--model", str(models / "sru"))
    assert done.returncode == 2 and " is not installed: install seqdistill with what it depends on" in done.stderr


@pytest.mark.parametrize("name", ["sru", "sru-out"])
def test_scores_that_nobody_reads_are_not_computed(models: Path, name: str) -> None:
    """Greedy lines without them are the same, and so are those of a beam, whose search needs them."""
    lines = sentences(20)
    for beam in (1, 3):
        settings = TranslateOptions(model=models / name, beam=beam, engine="compiled", compute_type="float32")
        scored, free = (open_engine(settings, scored=scored).engine.decode(lines, settings) for scored in (True, False))
        assert [row[0].text for row in free] == [row[0].text for row in scored]
        assert all(row[0].log_prob < 0 for row in scored)
        assert [row[0].log_prob == 0 for row in free] == [beam == 1] * len(lines)
        assert list(translate_lines(settings, lines)) == [row[0].text for row in scored]


def test_verbs_ask_for_no_scores(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = CompiledEngine.decode_ids

    def noted(self: CompiledEngine, *given: Any) -> Any:
        asked.append(self.scored)
        return original(self, *given)

    monkeypatch.setattr(CompiledEngine, "decode_ids", noted)
    list(translate_lines(TranslateOptions(model=models / "sru-out"), sentences(2)))
    assert asked == [False]
