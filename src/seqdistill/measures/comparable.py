"""Which corpora can be compared: the same lines, sources, tokenisers and settings of the aligner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqdistill.errors import UserError
from seqdistill.measures.alignment import Alignment
from seqdistill.measures.bitext import Bitext


def check_comparable(distilled: Alignment, real: Alignment) -> None:
    """Raises UserError unless both corpora have the same lines, sources, tokenisers and aligner settings."""
    ours, theirs = distilled.bitext, real.bitext
    if ours.num_lines != theirs.num_lines:
        raise UserError(
            f"{ours.name} has {ours.num_lines:,} lines but the real corpus {theirs.name} has {theirs.num_lines:,}; "
            "expected a distilled target for each real line: give the corpus it was distilled from"
        )
    for what, one, other in (
        ("tokenised", ours.signature, theirs.signature),
        ("aligned", distilled.options.signature, real.options.signature),
    ):
        if one != other:
            raise UserError(
                f"{ours.name} was {what} with {one}, but the real corpus {theirs.name} with {other}; measures compare "
                f"only corpora {what} alike"
            )
    _check_sources(ours, theirs)


def _check_sources(ours: Bitext, theirs: Bitext) -> None:
    # Lines that both corpora hold, and the number of their pair in each: either may have skipped others.
    _, at, there = np.intersect1d(ours.lines, theirs.lines, assume_unique=True, return_indices=True)
    check_common(len(at), ours.name, theirs.name)
    one, other = ours.source.chosen(at), theirs.source.chosen(there)
    if one.words == other.words and np.array_equal(one.starts, other.starts) and np.array_equal(one.ids, other.ids):
        return
    pair = next(pair for pair in range(len(at)) if one.sentence(pair) != other.sentence(pair))
    words = one.sentence(pair), other.sentence(pair)
    raise other_source(int(ours.lines[at[pair]]), (ours.name, theirs.name), words)


def check_common(num_lines: int, distilled: str, real: str) -> None:
    """Raises UserError where two corpora have too few lines in common, by their names."""
    if num_lines < 2:
        raise UserError(
            f"{distilled} and the real corpus {real} have {num_lines} line{'' if num_lines == 1 else 's'} in common "
            "with words on both sides; intervals resample lines and need at least 2: give corpora of the same text"
        )


def other_source(line: int, names: tuple[str, str], words: tuple[Sequence[str], Sequence[str]]) -> UserError:
    """That a line has another source in the distilled corpus than in the real one, in this order."""
    return UserError(
        f"line {line:,}: the source of {names[0]} is {_short(words[0])}, that of the real corpus {names[1]} is "
        f"{_short(words[1])}; expected the same sources line by line: give the corpus it was distilled from"
    )


def _short(words: Sequence[str]) -> str:
    text = " ".join(words)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
