"""Do 4.5 million pairs build in under 2 GB of memory, and start training within 10 seconds? Writes bench-store.

    python -m benchmarks.store [--pairs N] [--source FILE --target FILE] [--scratch FOLDER]

Text is repeated until there is enough of it, each copy with its number appended to both sides, so that no pair is a
duplicate and the filters have as much to remember as with real text; without files it is generated (Zipf's law).
`prepare` runs whole in a fresh process: filters, tokenizer, store. Another fresh process, after the system was asked to
forget the cached file, opens the directory and builds the first batch; starting Python and its imports count.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evidence.processes import in_fresh_process, peak_mb
from evidence.script import arguments, execute, record
from seqdistill.data.batches import Batches
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.filters import Filters

MAX_TOKENS = 4096


def zipf_pairs(count: int = 100_000) -> Iterator[tuple[str, str]]:
    """Pairs of about 22 words a side, of 40,000 words as frequent as their rank says."""
    random = np.random.default_rng(1)
    letters = np.array(list("aaabcdeeeefghiiiklmnooprrssttuuvwz"))
    words = np.array(["".join(random.choice(letters, size=size)) for size in random.integers(2, 11, size=40_000)])
    chances = 1 / np.arange(1, len(words) + 1)
    lengths = np.clip(random.lognormal(3, 0.5, size=(count, 2)), 1, 100).astype(int)
    lengths[:, 1] = np.clip(lengths[:, 0] * random.normal(1, 0.1, size=count), 1, 100)
    drawn = iter(random.choice(words, size=lengths.sum(), p=chances / chances.sum()).tolist())
    for source, target in lengths.tolist():
        yield " ".join(itertools.islice(drawn, source)), " ".join(itertools.islice(drawn, target))


def write_text(folder: Path, pairs: list[tuple[str, str]], count: int) -> None:
    """Repeats the pairs, numbered, until there are `count`."""
    copies = ((source, target, copy) for copy in itertools.count() for source, target in pairs)
    with (folder / "source.txt").open("w") as sources, (folder / "target.txt").open("w") as targets:
        for source, target, copy in itertools.islice(copies, count):
            sources.write(f"{source} {copy}\n")
            targets.write(f"{target} {copy}\n")


def build(folder: Path) -> dict[str, float]:
    """Prepares the data directory; counts what is in it."""
    began = time.monotonic()
    text = ParallelCorpus.from_files(folder / "source.txt", folder / "target.txt")
    results = prepare(train=text, valid=None, test=None, out=folder / "data", filters=Filters())
    train = results["splits"]["train"]
    return {
        "pairs": results["filters"]["read"],
        "pairs_kept": train["pairs"],
        "tokens": train["source_tokens"] + train["target_tokens"],
        "build_seconds": time.monotonic() - began,
        "build_peak_mb": peak_mb(),
        "store_mb": (folder / "data" / "train.arrow").stat().st_size / 1e6,
    }


def start(folder: Path) -> dict[str, float]:
    """Opens the data directory and takes the first batch."""
    began = time.monotonic()
    batches = Batches(DataDirectory.open(folder / "data").train, max_tokens=MAX_TOKENS, seed=1)
    next(batches)
    return {"open_seconds": time.monotonic() - began, "ready_at": time.monotonic(), "start_peak_mb": peak_mb()}


def use(folder: Path) -> dict[str, float]:
    """How good the batches are, how fast they come, and how long verifying takes."""
    data = DataDirectory.open(folder / "data")
    began = time.monotonic()
    train = data.train  # its first use reads it against its hash
    verified = time.monotonic()
    batches = Batches(train, max_tokens=MAX_TOKENS, seed=1)
    next(batches)
    first = time.monotonic()
    labels = sum(next(batches).num_labels for _ in range(1000))
    return {
        "verify_seconds": verified - began,
        "padding_percent": 100 * batches.padding,
        "batches_per_epoch": batches.batches_per_epoch,
        "target_tokens_per_second": labels / (time.monotonic() - first),
    }


def forget(path: Path) -> None:
    """Asks the system to drop its cached copy of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = arguments(__doc__, pairs=4_500_000)
    parser.add_argument("--source", type=Path, help="text to repeat, plain or .gz; default: generated")
    parser.add_argument("--target", type=Path)
    parser.add_argument("--scratch", type=Path, help="folder for about 3 GB of temporary files")
    given = parser.parse_args()
    if (given.source is None) != (given.target is None):
        parser.error("--source and --target belong together")
    text = ParallelCorpus.from_files(given.source, given.target) if given.source else zipf_pairs()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        folder = Path(scratch)
        write_text(folder, [(source, target) for source, target in text], given.pairs)
        figures = in_fresh_process(build, folder)
        forget(folder / "data" / "train.arrow")
        began = time.monotonic()
        figures |= in_fresh_process(start, folder)
        figures["start_seconds"] = figures.pop("ready_at") - began
        figures |= in_fresh_process(use, folder)
    figures = {name: round(value, 2) for name, value in figures.items()}
    kept = ("pairs", "build_peak_mb", "start_seconds", "build_seconds", "padding_percent")
    name = given.source.name if given.source else "generated (Zipf)"
    row = {"system": "seqdistill", "data": name, "max_tokens": MAX_TOKENS} | figures
    record(
        "bench-store",
        given,
        claim="4.5 million pairs build in under 2 GB of memory and give their first batch within 10 seconds.",
        figures={key: figures[key] for key in kept},
        rows=[row],
    )


if __name__ == "__main__":
    execute(main)
