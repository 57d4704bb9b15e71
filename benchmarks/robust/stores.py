"""Command lines that read what stages left: data directories, outputs, manifests; altered, cut, gone."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from benchmarks.robust.cases import Case
from benchmarks.robust.toy import DECODE, DISTILL, EVALUATE, MADE, PREPARE_WITH, TINY, TRAIN, alter

READERS: dict[str, list[list[str]]] = {
    "data": [
        [*TRAIN, "--model", "transformer", *TINY, "--out", "out"],
        [*DISTILL, "--out", "out"],
        [*EVALUATE, "--out", "out"],
        [*PREPARE_WITH, "data", "--out", "out"],
    ],
    "distilled": [["train", "--data", "distilled", *TRAIN[3:], "--model", "sru", "--set", "dim=16", "--out", "out"]],
    "scores": [["report", ".", "--page", "out"]],
}
"""Stage -> command lines that read it."""


def stores(draw: random.Random, folder: Path) -> Case:
    """A command line on a stage's directory that was altered."""
    return draw.choice([_read, _read, _read, _again, _manifest, _foreign, _mixed])(draw, folder)


def _read(draw: random.Random, folder: Path) -> Case:
    stage = draw.choice(list(READERS))
    words = draw.choice(READERS[stage])
    listed = json.loads((folder / stage / "manifest.json").read_text())["outputs"]
    kind, name = _altered(draw, folder / stage, sorted(listed))
    unread = (stage, words[0]) in (("data", "prepare"), ("scores", "report")) and not name.startswith("tokenizer")
    unread |= kind == "longer" and name.endswith(".json")  # by a line end, which JSON may have
    unread |= name.endswith("sources.txt") or (words[0] == "distill" and name in ("test.arrow",))
    return Case(f"{stage}/{name}, {kind}, {words[0]}", words, "either" if unread else "refused")


def _again(draw: random.Random, folder: Path) -> Case:
    """A finished stage asked for once more, one of its files altered."""
    stage = draw.choice(list(MADE))
    listed = json.loads((folder / stage / "manifest.json").read_text())["outputs"]
    kind, name = _altered(draw, folder / stage, sorted(listed))
    return Case(f"{stage}/{name}, {kind}, again", [*MADE[stage], "--out", stage], "refused")


def _altered(draw: random.Random, stage: Path, names: list[str]) -> tuple[str, str]:
    """Alters one of the files; how, and which."""
    name = draw.choice(names)
    path = stage / name
    content = bytearray(path.read_bytes())
    kind = draw.choice(["cut", "a flipped bit", "gone", "empty", "longer", "a folder"])
    path.unlink()
    if kind == "cut":
        content = content[: draw.randrange(len(content))]
    if kind == "a flipped bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    if kind == "longer":
        content += b"\n"
    if kind == "a folder":
        path.mkdir()
    elif kind != "gone":
        alter(path, b"" if kind == "empty" else bytes(content))
    return kind, name


def _manifest(draw: random.Random, folder: Path) -> Case:
    stage = draw.choice(["data", "at", "scores"])
    path = folder / stage / "manifest.json"
    record = json.loads(path.read_text())
    kind = draw.choice(["cut", "a list", "deep", "digits", "a key gone", "another edition", "empty", "NaN", "a folder"])
    key = draw.choice(["kind", "options", "inputs", "outputs", "edition"])
    if kind == "a key gone":
        del record[key]
    if kind == "another edition":
        record["edition"] = draw.choice([0, 1, 99, "2", None])
    text = json.dumps(record)
    text = {"cut": text[: draw.randrange(len(text))], "a list": "[]", "deep": "[" * 100_000, "empty": ""}.get(
        kind, text
    )
    if kind == "digits":
        text = text.replace('"edition": ', '"edition": ' + "9" * 5000)
    if kind == "NaN":
        text = text.replace('"edition": ', '"edition": NaN, "was": ')
    alter(path, text)
    if kind == "a folder":
        path.unlink()
        path.mkdir()
    words = draw.choice(
        [["status", "."], ["status", stage], [*MADE[stage], "--out", stage], ["report", ".", "--page", "out"]]
    )
    named = f"manifest of {stage}, {kind} {key if kind == 'a key gone' else ''}, {words[0]}"
    if words[0] == "status":  # shows which stage is unreadable, and why
        return Case(named, words, "either", says="unreadable")
    return Case(named, words, "either" if kind == "a key gone" and words[0] == "report" else "refused")


def _foreign(draw: random.Random, folder: Path) -> Case:
    """Directories of another kind than asked for."""
    (folder / "empty").mkdir()
    (folder / "circle").symlink_to("circle")
    name = draw.choice(
        ["at", "scores", "empty", "none", "train.src", "circle", "/proc", "at/model", "data/tokenizer", ""]
    )
    words = draw.choice(
        [
            ["train", "--data", name, *TRAIN[3:], "--model", "sru", "--set", "dim=16"],
            ["distill", "--teacher", "at", "--data", name, "--workers", "1", *DECODE],
            ["evaluate", "--model", "at", "--data", name, *DECODE],
            [*PREPARE_WITH, name],
            ["measure", name, "--source-language", "en", "--target-language", "de", "--workers", "1"],
        ]
    )
    sound = words[0] == "prepare" and name in ("at", "at/model", "data/tokenizer")
    return Case(
        f"{name!r} for a data directory, {words[0]}", [*words, "--out", "out"], "either" if sound else "refused"
    )


def _mixed(draw: random.Random, folder: Path) -> Case:
    """Files of two directories in one."""
    shutil.copy(folder / "nat/model/config.json", folder / "at/model/config.json.new")
    (folder / "at/model/config.json.new").replace(folder / "at/model/config.json")
    words, stdin = draw.choice([(["translate", "--model", "at"], b"lamp\n"), ([*EVALUATE, "--out", "out"], b"")])
    return Case(f"a description of another model, {words[0]}", words, "refused", stdin=stdin)
