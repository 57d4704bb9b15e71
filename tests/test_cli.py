"""The command line: every option documented, every example works, every mistake one line and exit code 2."""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from verb_options import VERBS

from seqdistill import cli
from seqdistill.commands import COMMANDS
from seqdistill.files import read_json
from seqdistill.journal import Record
from seqdistill.manifest import begin

TINY = {
    "prepare": "--vocab-size 60",
    "train": "--max-updates 2 --validate-every 2 --batch-tokens 256 --model transformer "
    "--set dim=16 --set ffn_dim=16 --set encoder_layers=1 --set decoder_layers=1 --set heads=2",
    "distill": "--max-ratio 0.5 --beam 2 --n-best 2",
    "evaluate": "--max-ratio 0.5 --beam 2 --speed-lines 1",
    "translate": "--max-ratio 0.5 --beam 2",
}

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files the examples name, and the working directory."""
    words = ["lamp", "door", "heat", "light", "open", "closed"]
    lines = [f"{a} {b} {c}" for a in words for b in words for c in words]
    parts = {"train": lines[:150], "valid": lines[150:170], "test": lines[170:190]}
    for name, part in parts.items():
        (tmp_path / f"{name}.en").write_text("".join(f"{line}\n" for line in part))
        (tmp_path / f"{name}.de").write_text("".join(f"{line[::-1]}\n" for line in part))
    (tmp_path / "teacher.out").write_text((tmp_path / "test.de").read_text())
    (tmp_path / "student.out").write_text("".join(line[1:] for line in (tmp_path / "test.de").open()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def example_of(verb: str) -> list[str]:
    return shlex.split(COMMANDS[verb].example)


def test_the_examples_in_the_help_work_in_order(text: Path, call: Call) -> None:
    for verb in ("prepare", "train", "distill", "translate", "evaluate", "compare"):
        words, source = example_of(verb), b""
        if "<" in words:
            source = Path(words[words.index("<") + 1]).read_bytes()
            words = words[: words.index("<")]
        code, out, errors = call(*words[1:], *shlex.split(TINY.get(verb, "")), stdin=source)
        assert code == 0, (verb, errors)
        if verb == "translate":
            assert out.count("\n") == source.count(b"\n")
    assert read_json(text / "scores" / "scores.json")["signatures"]["bleu"].startswith("nrefs:1")
    assert call("report", ".", "--page", "report.html")[0] == 0 and (text / "report.html").exists()
    assert call("status", ".")[1].count("finished") == 4
    code, out, _ = call("prepare", *example_of("prepare")[2:], "--vocab-size", "60")
    assert code == 0 and "nothing to do" in out
    code, _, errors = call("prepare", *example_of("prepare")[2:], "--vocab-size", "61")
    assert code == 2 and "vocab_size: 60 there, 61 now" in errors


@pytest.mark.parametrize("verb", [*VERBS, "run", "status", "sources"])
def test_every_verb_has_help_with_an_example(verb: str, call: Call) -> None:
    code, out, _ = call(*verb.split(), "--help")
    assert code == 0 and "Example: seqdistill" in out
    for name, option in (VERBS[verb].offered() if verb in VERBS else {}).items():
        unnamed = name in VERBS[verb].arguments
        assert (name if unnamed else f"--{name.replace('_', '-')}") in out and option.help


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("prepare --out data", "needs training text"),
        ("prepare --source train.en --out data", "--source is given without --target"),
        ("prepare --source none.en --target train.de --out data", "none.en: no such file"),
        ("prepare --corpus home-asistant --out data", "home-assistant"),
        ("prepare --source train.en --target train.de --table train.en --out data", "name the same text"),
        ("train --data none --model sru --out m", "none"),
        ("train --data . --model sru --set dim --out m", "--set expects KEY=VALUE"),
        ("evaluate --model none --out e", "none"),
        ("compare teacher.out none --reference test.de", "none: no such file"),
        ("compare teacher.out train.de --reference test.de", "20"),
        ("compare teacher.out student.out --reference test.de --metrics bleux", "did you mean 'bleu'"),
        ("run none.toml", "none.toml: no such recipe"),
        ("status none", "none: no such directory"),
        ("prepare --source train.en --target train.de --target train.de --out data", "--target names train.de twice"),
        ("prepare --source train.en --target train.de --target test.de --out data", "train.de 150 and test.de 20"),
        (
            "prepare --source train.en --target train.de --valid-target valid.de --out data",
            "--valid-target is given with",
        ),
        ("evaluate --model m --reference test.de --out e", "m"),
        ("study modes --output a --language de=a --language fr=b --out s", "--output expects NAME=PATH, such as"),
        (
            "study modes --output a=teacher.out --language de=train.de --out s",
            "language names de: expected two or more",
        ),
        ("study modes --output a=b --language de=train.de --language fr=train.en --out s", "b: no such file or"),
        ("study decision-theory --a 0 --out s", "'a.0': Input should be greater than 0, but it is 0.0"),
        ("study decision-theory --b 2 --b 2 --out s", "b: [2.0, 2.0] has a value twice"),
        ("study decision-theory --normalise sum --b 1 --out s", "a: [2.0, 4.0, 8.0] are 3 values, but dividing"),
        (
            "study decision-theory --states 1 --out s",
            "'states': Input should be greater than or equal to 2, but it is 1",
        ),
        ("study decision-theory --workers -1 --out s", "seqdistill study decision-theory: 'workers': "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(text: Path, call: Call, words: str, message: str) -> None:
    before = sorted(path.name for path in text.rglob("*") if path.is_file() and not path.name.startswith("."))
    code, _, errors = call(*shlex.split(words))
    assert code == 2 and errors.startswith("error: ") and message in errors and "Traceback" not in errors
    assert before == sorted(path.name for path in text.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_faulty_text_is_named_by_file_and_line(text: Path, call: Call) -> None:
    faults = {b"eins\nzw\xffei\n": "line 2", b"eins\nzw\0ei\n": "line 2", b"": "empty"}
    for number, (content, message) in enumerate(faults.items()):
        (text / "faulty.de").write_bytes(content)
        (text / "faulty.en").write_text("one\ntwo\n")
        words = ("prepare", "--source", "faulty.en", "--target", "faulty.de", "--out", f"data{number}")
        code, _, errors = call(*words)
        assert code == 2 and "faulty.de" in errors and message in errors, errors
    (text / "short.de").write_text("eins\n")
    code, _, errors = call("prepare", "--source", "faulty.en", "--target", "short.de", "--out", "data9")
    assert code == 2 and "2" in errors and "1" in errors and "short.de" in errors


def test_names_in_tables_and_files_that_are_not_utf8(text: Path, call: Call) -> None:
    """[red] vanished; a stage with such a file could never write its manifest."""
    source, out = os.fsdecode(b"caf\xe9.en"), os.fsdecode(b"[red] caf\xe9")
    (text / "train.en").rename(source)
    words = ["--source", source, "--target", "train.de", "--valid-size", "20", *TINY["prepare"].split(), "--out", out]
    for _ in range(2):  # made, and found as made
        assert call("prepare", *words)[0] == 0
    code, shown, _ = call("status", ".")
    assert code == 0 and "[red] caf\\xe9" in shown and "prepare" in shown
    train = ["train", "--data", out, "--out", f"{out}-model", *TINY["train"].split()]
    code, _, said = call(*train)
    assert code == 2 and "TensorBoard writes into no folder whose name is not UTF-8" in said
    assert call(*train, "--no-tensorboard")[0] == 0
    scores = ["--model", f"{out}-model", "--data", out, "--split", "valid", "--out", f"{out}-scores"]
    assert call("evaluate", *scores)[0] == 0
    assert call("report", ".")[0] == 0


def test_a_terminal_that_knows_ascii_only_gets_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without a locale; a name in Chinese was an error of Python's."""
    begin(tmp_path / "学生", Record("train", {}), machine={})
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "argv", ["seqdistill", "status", str(tmp_path)])
    assert cli.run() == 0
    shown.flush()
    assert b"\\u5b66\\u751f" in shown.buffer.getvalue()


def test_translate_names_the_line_that_is_not_utf8(text: Path, call: Call) -> None:
    assert call(*example_of("prepare")[1:], *TINY["prepare"].split())[0] == 0
    assert call(*example_of("train")[1:], *TINY["train"].split())[0] == 0
    words = ("translate", "--model", "teacher", *TINY["translate"].split())
    code, _, errors = call(*words, stdin=b"lamp\n\xff\n")
    assert code == 2 and "standard input, line 2: not UTF-8" in errors
    code, out, _ = call(*words, stdin=b"lamp door\r\n\nheat\n")
    assert code == 0 and out.split("\n")[1] == "" and out.count("\n") == 3
    mixed = (*words, "--first-model", "teacher", "--first-tokens", "2")
    assert call(*mixed, stdin=b"lamp door\r\n\nheat\n")[1] == out
    weights = text / "teacher" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    code, _, errors = call(*words, stdin=b"lamp\n")
    assert code == 2 and "model.safetensors" in errors


def test_a_full_disk_anywhere_is_one_line_and_exit_code_2(
    text: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seqdistill.verbs.compare.compare_files", full)
    code, _, errors = call("compare", "teacher.out", "student.out", "--reference", "test.de")
    assert (code, errors.count("\n")) == (2, 1)
    assert "the disk is full" in errors
