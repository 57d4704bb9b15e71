"""Quality of an alignment: alignment error rate against human links (Och and Ney 2003, section 6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.measures.links import Link, Links, link_lists
from seqdistill.text.lines import read_lines

_GOLD_LINK = re.compile(r"(\d+)([-?p])(\d+)")


class GoldLinks(NamedTuple):
    """One sentence pair's gold links, positions from 0."""

    sure: frozenset[Link]
    possible: frozenset[Link]
    """The sure ones included."""


class Agreement(NamedTuple):
    """An alignment against the gold one, as shares of 1."""

    error_rate: float
    precision: float
    recall: float


def read_gold(path: Path, *, first: int = 1) -> list[GoldLinks]:
    """Reads gold links, a line a pair: `i-j` is sure, `i?j` or `ipj` only possible.

    Args:
        first: the number of a sentence's first word in the file.

    Raises:
        UserError: a word that is not a link, or a position below `first`.
    """
    return [_gold_of(path, number, line, first) for number, line in enumerate(read_lines(path), start=1)]


def _gold_of(path: Path, number: int, line: str, first: int) -> GoldLinks:
    sure, possible = set[Link](), set[Link]()
    for word in line.split():
        found = _GOLD_LINK.fullmatch(word)
        if found is None:
            raise UserError(
                f"{path}, line {number:,}: {word!r} is no gold link; expected source-target for a sure link and "
                "source?target for a possible one, such as 1-1 2?3"
            )
        link = (int(found[1]) - first, int(found[3]) - first)
        if min(link) < 0:
            raise UserError(
                f"{path}, line {number:,}: {word!r} has a position below {first}, which was said to be the first; "
                "read it with first=0 if its positions begin at 0"
            )
        possible.add(link)
        if found[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible))


def agreement(links: Links, gold: Sequence[GoldLinks]) -> Agreement:
    """AER = 1 - (|A and S| + |A and P|) / (|A| + |S|), precision |A and P| / |A|, recall |A and S| / |S|, pooled.

    Raises:
        UserError: different numbers of pairs, or no sure link at all.
    """
    if links.num_pairs != len(gold):
        raise UserError(
            f"{links.num_pairs:,} aligned pairs but {len(gold):,} lines of gold links; expected the same text: check "
            "that no blank line was skipped and that both files belong together"
        )
    num_sure = sum(len(one.sure) for one in gold)
    if not num_sure:
        raise UserError(f"the gold links of {len(gold):,} pairs hold no sure link (i-j); no error rate can be given")
    num_links = len(links.source)
    sure_found = possible_found = 0
    for found, wanted in zip(link_lists(links), gold, strict=True):
        # A sure link found counts twice, as it is possible too: with A = S the rate is 0.
        sure_found += len(wanted.sure.intersection(found))
        possible_found += len(wanted.possible.intersection(found))
    return Agreement(
        error_rate=1 - (sure_found + possible_found) / (num_links + num_sure),
        precision=possible_found / num_links if num_links else 0.0,
        recall=sure_found / num_sure,
    )
