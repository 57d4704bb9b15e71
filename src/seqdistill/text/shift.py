"""Where two files that should be aligned line by line part company."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqdistill.text.lines import read_lines


def explain_shift(source: Path, *targets: Path) -> str:
    """Says how many lines each file has, and near which line the source and a target of another count part."""
    paths = (source, *targets)
    counts = [sum(1 for _ in read_lines(path)) for path in paths]
    other = next(at for at, count in enumerate(counts) if count != counts[0])
    named = [f"{path} {count:,}" for path, count in zip(targets, counts[1:], strict=True)]
    listed = ", ".join([f"{source} has {counts[0]:,} lines", *named[:-1]])
    return (
        f"{listed} and {named[-1]}; expected as many, line by line translations of each other. "
        f"{_place(source, paths[other])}"
    )


def _place(source: Path, target: Path) -> str:
    lengths = [np.fromiter(map(len, read_lines(path)), dtype=np.int32) for path in (source, target)]
    counts = [len(each) for each in lengths]
    line = first_shifted(*lengths) + 1
    longer, shorter = (source, target) if counts[0] > counts[1] else (target, source)
    extra = abs(counts[0] - counts[1])
    if line > min(counts):
        return f"the lines agree in length up to line {min(counts):,}: {longer.name} probably goes on too long"
    return (
        f"the lengths of their lines stop agreeing near line {line:,}: look there for {extra:,} line(s) too many in "
        f"{longer.name}, or lost from {shorter.name}"
    )


def first_shifted(source_lengths: np.ndarray, target_lengths: np.ndarray) -> int:
    """0-based line from which the longer file is best read as shifted; the shorter one's length if none is.

    With n extra lines in one place, lines before it agree with the same line of the other file and lines after it with
    the n-th line further on. Chosen is the place with the least sum of |log length ratio - its median| over all lines.
    """
    # before[k] is what the first k lines cost unshifted, after[k] what the others cost shifted by n; the best k is the
    # one with the least sum, of equals the last, as lines that agree either way are not yet shifted.
    shorter, longer = sorted((source_lengths, target_lengths), key=len)
    extra = len(longer) - len(shorter)
    logs = np.log1p(shorter)
    straight, shifted = np.log1p(longer[: len(shorter)]) - logs, np.log1p(longer[extra:]) - logs
    usual = np.median(np.concatenate([straight, shifted]))
    before = np.concatenate([[0.0], np.cumsum(np.abs(straight - usual))])
    after = np.concatenate([[0.0], np.cumsum(np.abs(shifted - usual)[::-1])])[::-1]
    return int(len(shorter) - np.argmin((before + after)[::-1]))
