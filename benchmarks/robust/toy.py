"""A language pair of twelve words, and everything that commands make of it, in seconds: what the trials begin with."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.robust.process import run
from seqdistill.errors import UserError

WORDS = ["lamp", "door", "window", "heat", "light", "sensor", "open", "closed", "the", "is", "on", "off"]
SIZES = {"dim": 16, "ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
TINY = [word for name, value in SIZES.items() for word in ("--set", f"{name}={value}")]
TEXT = [
    word
    for part in ("valid", "test")
    for word in (f"--{part}-source", f"{part}.src", f"--{part}-target", f"{part}.tgt")
]
PAIRS = ["prepare", "--source", "train.src", "--target", "train.tgt"]
PREPARE = [*PAIRS, *TEXT, "--vocab-size", "60"]
PREPARE_WITH = [*PAIRS, "--valid-size", "9", "--tokenizer-from"]
"""What follows names the tokenizer."""
UPDATES = ["--max-updates", "2", "--warmup", "1", "--validate-every", "2", "--batch-tokens", "256"]
UPDATES += ["--no-tensorboard", "--precision", "float32"]
TRAIN = ["train", "--data", "data", *UPDATES, "--threads", "1"]
DECODE = ["--beam", "2", "--max-ratio", "0.5", "--max-length", "20"]
DISTILL = ["distill", "--teacher", "at", "--data", "data", "--workers", "1", *DECODE]
EVALUATE = ["evaluate", "--model", "at", "--data", "data", "--speed-lines", "0", "--metrics", "bleu,chrf", *DECODE]
TRANSLATE = ["translate", "--model", "at", *DECODE]
EXPORT = ["export", "--model", "at", "--data", "data", "--verify-lines", "5", "--workers", "1"]
BENCH = ["bench", "at", "--data", "data", "--speed-lines", "2", "--rounds", "1", *DECODE]
MEASURE = ["measure", "data", "--source-language", "en", "--target-language", "de", "--workers", "1"]
COMPARE = ["compare", "test.src", "test.tgt", "--reference", "test.tgt", "--samples", "40", "--metrics", "bleu"]
MADE = {
    "data": PREPARE,
    "at": [*TRAIN, "--model", "transformer", *TINY],
    "nat": [*TRAIN, "--model", "nat", *TINY],
    "distilled": DISTILL,
    "scores": EVALUATE,
    "exported": [*EXPORT, "--shortlist", "data"],
    "measures": [*MEASURE, "--samples", "40"],
}
"""Directory -> the command that makes it."""


def write_text(folder: Path, *, pairs: int = 100) -> None:
    """train (of so many pairs), valid and test in .src and .tgt, the training text also as tables; no source twice."""
    generator = random.Random(1)
    seen: set[str] = set()
    while len(seen) < pairs + 40:
        seen.add(" ".join(generator.choices(WORDS, k=generator.randint(2, 6))))
    lines = sorted(seen)
    generator.shuffle(lines)
    for name, part in (("train", lines[:pairs]), ("valid", lines[pairs : pairs + 20]), ("test", lines[pairs + 20 :])):
        targets = [" ".join(word[::-1] for word in reversed(line.split())) for line in part]
        (folder / f"{name}.src").write_text("".join(f"{line}\n" for line in part))
        (folder / f"{name}.tgt").write_text("".join(f"{line}\n" for line in targets))
        if name == "train":
            rows = [{"source": source, "target": target} for source, target in zip(part, targets, strict=True)]
            (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            text = ["source\ttarget", *("\t".join(row.values()) for row in rows)]
            (folder / "table.tsv").write_text("".join(f"{line}\n" for line in text))
            pq.write_table(pa.Table.from_pylist(rows), folder / "table.parquet", row_group_size=20)


def make(folder: Path) -> Path:
    """The toy in `folder`, made once.

    Raises:
        UserError: a command failed that should not.
    """
    if (folder / "made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(folder)
    for out, words in MADE.items():
        ended = run([*words, "--out", out], folder)
        if ended.code != 0:
            raise UserError(f"{' '.join(words)}: exit code {ended.code}: {ended.err}")
    (folder / "made").touch()
    return folder


def copy(toy: Path, folder: Path) -> None:
    """The toy's files at another place as links: written anew, never in place, they do not change here."""
    shutil.copytree(toy, folder, copy_function=os.link)


def alter(path: Path, content: bytes | str) -> None:
    """Replaces a file of a copy."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is in a folder: inode, size and time of change of every file but locks."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name != ".lock" and not path.is_dir():
            state = path.lstat()
            found[path.relative_to(folder).as_posix()] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found
