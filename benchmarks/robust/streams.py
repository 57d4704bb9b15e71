"""Command lines of `translate` and others, by what stands at their standard streams."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.robust.cases import Case
from benchmarks.robust.corpora import UNUSUAL
from benchmarks.robust.toy import COMPARE, PREPARE, TRANSLATE, WORDS


def streams(draw: random.Random, folder: Path) -> Case:
    """A command line with a stream that is odd, broken or full."""
    return draw.choice([_input, _input, _input, _output, _told, _traced, _file])(draw, folder)


def _sentences(draw: random.Random, most: int = 8) -> list[str]:
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 5))) for _ in range(draw.randint(1, most))]


def _input(draw: random.Random, folder: Path) -> Case:
    lines = _sentences(draw)
    text = "".join(f"{line}\n" for line in lines).encode()
    unusual = [line + draw.choice(UNUSUAL) for line in lines]
    kind, stdin, wanted, lines_out = draw.choice(
        [
            ("sound", text, "done", len(lines)),
            ("nothing", b"", "done", 0),
            ("CR LF", text.replace(b"\n", b"\r\n"), "done", len(lines)),
            ("no line end at the end", text[:-1], "done", None),
            ("unusual characters", "".join(f"{line}\n" for line in unusual).encode(), "done", len(lines)),
            ("a long line", b"lamp " * draw.randint(100, 600) + b"\n", "done", 1),
            ("blank lines", b"\n" * 5, "done", 5),
            ("a byte that is not UTF-8", text + b"\xff\n", "refused", None),
            ("half a character at the end", text + b"\xe2\x82", "refused", None),
            ("a NUL byte", text + b"\0\n", "either", None),
            ("none", None, "either", None),
        ]
    )
    return Case(f"standard input, {kind}", _engine(draw), wanted, stdin=stdin, lines_out=lines_out)  # pyright: ignore


def _engine(draw: random.Random) -> list[str]:
    return [*TRANSLATE, *(["--engine", "ctranslate2"] if draw.random() < 0.15 else [])]


def _output(draw: random.Random, folder: Path) -> Case:
    words, stdin = draw.choice(
        [
            (TRANSLATE, b"lamp on\n" * draw.choice([1, 300])),
            (["sources"], b""),
            (["status", "."], b""),
            (["--help"], b""),
            (["train", "--help"], b""),
            (["--version"], b""),
            (COMPARE, b""),
            (["run", "--help"], b""),
        ]
    )
    stdout = draw.choice(["gone", "full", "closed"])
    wanted = {"gone": "done", "full": "refused", "closed": "either"}[stdout]
    return Case(f"standard output {stdout}, {words[0]}", words, wanted, stdin=stdin, stdout=stdout)  # pyright: ignore


def _told(draw: random.Random, folder: Path) -> Case:
    """Prefixes and allowed pieces: a line for each."""
    lines = _sentences(draw, 4)
    kind, content, wanted = draw.choice(
        [
            ("sound", b"\n" * len(lines), "done"),
            ("too few lines", b"\n" * (len(lines) - 1), "refused"),
            ("a letter that the vocabulary has not", "漢\n".encode() * len(lines), "refused"),
            ("a byte that is not UTF-8", b"\xff\n" * len(lines), "refused"),
        ]
    )
    (folder / "told").write_bytes(content)
    option = draw.choice(["--prefix-file", "--prefix-file", "--allowed-file"])
    stdin = "".join(f"{line}\n" for line in lines).encode()
    lines_out = len(lines) if wanted == "done" else None
    return Case(f"{option}, {kind}", [*TRANSLATE, option, "told"], wanted, stdin=stdin, lines_out=lines_out)  # pyright: ignore


def _traced(draw: random.Random, folder: Path) -> Case:
    model = draw.choice(["nat", "at"])
    words = ["translate", "--model", model, "--max-length", "9", "--trace"]
    return Case(f"trace, {model}", words, "done" if model == "nat" else "refused", stdin=b"lamp\n")


def _file(draw: random.Random, folder: Path) -> Case:
    """Standard streams and devices given as files."""
    name = draw.choice(["/dev/stdin", "/dev/null", "/dev/fd/0", "/proc/self/mem", "/dev/full", "/dev/fd/99"])
    words = ["prepare", "--source", name, *PREPARE[3:], "--out", "out"]
    wanted = "either" if name in ("/dev/stdin", "/dev/fd/0") else "refused"
    return Case(f"{name} as a file", words, wanted, stdin=(folder / "train.src").read_bytes())  # pyright: ignore
