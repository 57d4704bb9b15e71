"""Where two files that should be aligned line by line part company."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqdistill.text.lines import read_lines


def explain_shift(source: Path, target: Path) -> str:
    """Says how many lines each file has, and near which line their lengths stop agreeing."""
    lengths = [np.fromiter(map(len, read_lines(path)), dtype=np.int32) for path in (source, target)]
    counts = [len(each) for each in lengths]
    line = first_shifted(*lengths) + 1
    longer = (source, target)[counts[1] > counts[0]]
    extra = abs(counts[0] - counts[1])
    if line > min(counts):
        place = f"the lines agree in length up to line {min(counts):,}: {longer.name} probably goes on too long"
    else:
        place = (
            f"their lengths stop agreeing near line {line:,}: look there for {extra:,} line(s) too many in "
            f"{longer.name}, or lost from the other"
        )
    return (
        f"{source} has {counts[0]:,} lines and {target} {counts[1]:,}; expected as many, line by line translations of "
        f"each other. {place}"
    )


def first_shifted(source_lengths: np.ndarray, target_lengths: np.ndarray) -> int:
    """0-based line from which the longer file is best read as shifted; the shorter one's length if none is.

    With n extra lines in one place, lines before it agree with the same line of the other file and lines after it with
    the n-th line further on. Chosen is the place with the least sum of |log length ratio - its median| over all lines.
    """
    shorter, longer = sorted((source_lengths, target_lengths), key=len)
    extra = len(longer) - len(shorter)
    logs = np.log1p(shorter)
    straight, shifted = np.log1p(longer[: len(shorter)]) - logs, np.log1p(longer[extra:]) - logs
    usual = np.median(np.concatenate([straight, shifted]))
    before = np.concatenate([[0.0], np.cumsum(np.abs(straight - usual))])
    after = np.concatenate([[0.0], np.cumsum(np.abs(shifted - usual)[::-1])])[::-1]
    return int(len(shorter) - np.argmin((before + after)[::-1]))
