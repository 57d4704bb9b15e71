"""Command lines that read text: damaged, unusual and sound files."""

from __future__ import annotations

import bz2
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

from benchmarks.robust.cases import Case, Wanted
from benchmarks.robust.toy import COMPARE, PREPARE, TEXT, alter

Bytes = Callable[[random.Random, bytes], bytes]


def _at(damage: bytes) -> Bytes:
    """Puts bytes at a random place within the text."""

    def put(draw: random.Random, text: bytes) -> bytes:
        place = draw.randrange(1, len(text) - 1)
        return text[:place] + damage + text[place:]

    return put


def _some_lines(change: Callable[[random.Random, bytes], bytes]) -> Bytes:
    def changed(draw: random.Random, text: bytes) -> bytes:
        return b"".join(
            change(draw, line) + b"\n" if draw.random() < 0.3 else line + b"\n" for line in text.split(b"\n")[:-1]
        )

    return changed


def _lines_fewer(draw: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join(lines[: -draw.randint(1, 9)])


UNUSUAL = [
    "\u200b",
    "\u2028",
    "\u0085",
    "\ufeff",
    "क्षि",
    "ﬃ",
    "👩‍👩‍👧",
    "שָׁלוֹם",
    "ไทย",
    "漢字かな",
    "한글",
    "e\u0301",
    "\x0c",
    "\x1b[31m",
    "\U0010ffff",
]
LINES: dict[str, tuple[Bytes, Wanted]] = {
    "a byte that is not UTF-8": (_at(b"\xff"), "refused"),
    "half a character": (_at(b"\xe2\x82"), "refused"),
    "a surrogate in UTF-8": (_at(b"\xed\xa0\x80"), "refused"),
    "a NUL byte": (_at(b"\0"), "refused"),
    "no text at all": (lambda draw, text: b"", "refused"),
    "UTF-16": (lambda draw, text: text.decode().encode("utf-16"), "refused"),
    "a line of a million letters": (_at(b"x" * 1_000_002), "refused"),
    "fewer lines": (_lines_fewer, "refused"),
    "a line too many": (lambda draw, text: text + b"one more\n", "refused"),
    "blank lines only": (lambda draw, text: b"\n" * text.count(b"\n"), "refused"),
    "invisible lines only": (lambda draw, text: "\u200b\n".encode() * text.count(b"\n"), "refused"),
    "gzip without its name": (lambda draw, text: gzip.compress(text), "either"),
    "bzip2 without its name": (lambda draw, text: bz2.compress(text), "either"),
    "zip": (lambda draw, text: b"PK\x03\x04" + text, "refused"),
    "CR LF": (lambda draw, text: text.replace(b"\n", b"\r\n"), "done"),
    "a byte order mark": (lambda draw, text: b"\xef\xbb\xbf" + text, "done"),
    "no line end at the end": (lambda draw, text: text[:-1], "done"),
    "blank lines": (_some_lines(lambda draw, line: b" \t" if draw.random() < 0.2 else line), "done"),
    "unusual characters": (_some_lines(lambda draw, line: line + draw.choice(UNUSUAL).encode()), "done"),
    "tabs": (_some_lines(lambda draw, line: line.replace(b" ", b"\t")), "done"),
    "long words": (_some_lines(lambda draw, line: line + b"x" * draw.randint(50, 3000)), "either"),
}
CELLS: dict[str, Callable[[], str]] = {
    "no JSON": lambda: "{",
    "deep brackets": lambda: "[" * 100_000,
    "a number of 5,000 digits": lambda: '{"source": ' + "9" * 5000 + "}",
    "a list": lambda: "[1]",
    "null": lambda: '{"source": null, "target": "a"}',
    "a number": lambda: '{"source": 1e400, "target": "a"}',
    "a missing key": lambda: '{"source": "a"}',
    "half a surrogate pair": lambda: '{"source": "\\ud800", "target": "a"}',
    "a NUL": lambda: '{"source": "a\\u0000", "target": "a"}',
    "an object": lambda: '{"source": {"a": 1}, "target": "a"}',
}


def corpora(draw: random.Random, folder: Path) -> Case:
    """A command line of `prepare`, `compare` or `measure` on text."""
    return draw.choice([_text, _text, _text, _held_out, _jsonl, _tsv, _parquet, _packed, _place, _outputs, _measured])(
        draw, folder
    )


def _text(draw: random.Random, folder: Path) -> Case:
    name = draw.choice(["train.src", "train.tgt"])
    kind = draw.choice(list(LINES))
    change, wanted = LINES[kind]
    alter(folder / name, change(draw, (folder / name).read_bytes()))
    return Case(f"{kind} in training text", [*PREPARE, "--out", "out"], wanted)


def _held_out(draw: random.Random, folder: Path) -> Case:
    name = draw.choice(["valid.src", "test.tgt"])
    kind = draw.choice([kind for kind, (_, wanted) in LINES.items() if wanted == "refused"])
    alter(folder / name, LINES[kind][0](draw, (folder / name).read_bytes()))
    wanted: Wanted = "either" if kind.endswith("lines only") else "refused"  # held-out pairs keep their places
    return Case(f"{kind} in held-out text", [*PREPARE, "--out", "out"], wanted)


def _jsonl(draw: random.Random, folder: Path) -> Case:
    lines = (folder / "table.jsonl").read_text().splitlines()
    kind = draw.choice([*CELLS, "sound", "another key first"])
    if kind in CELLS:
        lines[draw.randrange(len(lines))] = CELLS[kind]()
    if kind == "another key first":
        lines = [json.dumps({"number": 1} | json.loads(line)) for line in lines]
    alter(folder / "table.jsonl", "\n".join(lines) + "\n")
    return Case(f"JSONL, {kind}", _table("table.jsonl"), "refused" if kind in CELLS else "done")


def _tsv(draw: random.Random, folder: Path) -> Case:
    lines = (folder / "table.tsv").read_text().splitlines()
    kind, place = draw.choice(["a tab too many", "a tab too few", "no header", "sound"]), draw.randrange(1, len(lines))
    if kind == "a tab too many":
        lines[place] += "\tx"
    if kind == "a tab too few":
        lines[place] = lines[place].replace("\t", " ")
    if kind == "no header":
        lines = lines[1:]
    alter(folder / "table.tsv", "\n".join(lines) + "\n")
    return Case(f"TSV, {kind}", _table("table.tsv"), "done" if kind == "sound" else "refused")


def _parquet(draw: random.Random, folder: Path) -> Case:
    content = bytearray((folder / "table.parquet").read_bytes())
    kind = draw.choice(["cut", "begun with nothing", "a flipped bit", "sound", "another column"])
    if kind == "cut":
        content = content[: draw.randrange(len(content) - 1)]
    if kind == "begun with nothing":
        content[: draw.randint(4, 200)] = b"\0" * 4
    if kind == "a flipped bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    alter(folder / "table.parquet", bytes(content))
    more = ["--source-column", "none"] if kind == "another column" else []
    wanted: Wanted = "done" if kind == "sound" else "either" if kind == "a flipped bit" else "refused"
    return Case(f"Parquet, {kind}", [*_table("table.parquet"), *more], wanted)


def _packed(draw: random.Random, folder: Path) -> Case:
    text = gzip.compress((folder / "train.src").read_bytes())
    kind = draw.choice(["sound", "cut", "a flipped bit", "plain text with its name"])
    if kind == "cut":
        text = text[: draw.randrange(1, len(text) - 1)]
    if kind == "a flipped bit":
        place = draw.randrange(10, len(text))  # after the header, of which names and times may be anything
        text = text[:place] + bytes([text[place] ^ 1 << draw.randrange(8)]) + text[place + 1 :]
    if kind == "plain text with its name":
        text = (folder / "train.src").read_bytes()
    (folder / "train.src.gz").write_bytes(text)
    words = ["prepare", "--source", "train.src.gz", *PREPARE[3:], "--out", "out"]
    either = kind == "plain text with its name"
    return Case(f"gzip, {kind}", words, "done" if kind == "sound" else "either" if either else "refused")


def _place(draw: random.Random, folder: Path) -> Case:
    """Something else where a file is expected."""
    places = {"nothing": "none", "a folder": "data", "a circle of links": "circle", "a name too long": "x" * 300}
    places |= {"a part of the path that is a file": "train.src/x", "a NUL": "a\0b", "an empty name": ""}
    (folder / "circle").symlink_to("circle")
    kind = draw.choice(list(places))
    option = draw.choice(["--source", "--target", "--valid-source", "--test-target", "--table"])
    base = ["prepare"] if option == "--table" else ["prepare", "--source", "train.src", "--target", "train.tgt", *TEXT]
    words = [*base, option, places[kind], "--vocab-size", "60", "--out", "out"]
    if option in base:
        del words[base.index(option) : base.index(option) + 2]
    return Case(f"{option}: {kind}", words, "refused")


def _outputs(draw: random.Random, folder: Path) -> Case:
    kind = draw.choice([*(kind for kind, (_, wanted) in LINES.items() if wanted == "refused"), "sound"])
    if kind in ("blank lines only", "invisible lines only", "sound"):
        return Case("outputs, sound", COMPARE, "done")
    name = draw.choice(["test.src", "test.tgt"])
    alter(folder / name, LINES[kind][0](draw, (folder / name).read_bytes()))
    both = name == "test.tgt" and kind in ("fewer lines", "a line too many")
    words = ["compare", "test.src", "test.src", *COMPARE[3:]] if both else COMPARE
    return Case(f"outputs, {kind}", words, "either" if kind == "zip" else "refused")


def _measured(draw: random.Random, folder: Path) -> Case:
    words = [
        "measure",
        "table.tsv",
        "--source-language",
        "en",
        "--target-language",
        "de",
        "--workers",
        "1",
        "--samples",
        "40",
    ]
    kind = draw.choice(["a byte that is not UTF-8", "a NUL byte", "no text at all", "UTF-16"])
    alter(folder / "table.tsv", LINES[kind][0](draw, (folder / "table.tsv").read_bytes()))
    return Case(f"measure, {kind}", [*words, "--out", "out"], "refused")


def _table(name: str) -> list[str]:
    return ["prepare", "--table", name, *TEXT, "--vocab-size", "60", "--out", "out"]
