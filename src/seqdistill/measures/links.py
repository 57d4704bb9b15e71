"""Word alignments: links of sentence pairs as arrays, and in Pharaoh format, `source-target` from 0, a line a pair."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from seqdistill.errors import UserError
from seqdistill.files import written_beside
from seqdistill.measures.bitext import Bitext, Side
from seqdistill.text.lines import read_lines

_LINK = re.compile(r"(\d+)-(\d+)")

_BLOCK_PAIRS = 100_000

Link = tuple[int, int]


class Links(NamedTuple):
    """Links of all pairs, in each pair ascending by source, then target position (from 0), none twice.

    Args:
        starts: where the links of each pair begin, and where the last ones end.
        source, target: positions in the pair's sentences.
    """

    starts: Int[np.ndarray, " pairs_and_1"]
    source: Int[np.ndarray, " links"]
    target: Int[np.ndarray, " links"]

    @property
    def num_pairs(self) -> int:
        return len(self.starts) - 1

    def pair(self, pair: int) -> list[Link]:
        """The links of one pair."""
        own = slice(self.starts[pair], self.starts[pair + 1])
        return list(zip(self.source[own].tolist(), self.target[own].tolist(), strict=True))

    def __str__(self) -> str:
        return f"{len(self.source):,} links of {self.num_pairs:,} pairs"

    def pairs(self) -> Int[np.ndarray, " links"]:
        """The pair of each link."""
        return np.repeat(np.arange(self.num_pairs), np.diff(self.starts))

    def flipped(self) -> Links:
        """The same links seen from the other language."""
        order = np.lexsort((self.source, self.target, self.pairs()))
        return Links(self.starts, self.target[order], self.source[order])

    def words(self, side: Side, *, of_source: bool) -> Int[np.ndarray, " links"]:
        """The word number of each link on one side of the bitext."""
        positions = self.source if of_source else self.target
        return side.ids[np.repeat(side.starts[:-1], np.diff(self.starts)) + positions]

    @classmethod
    def from_lists(cls, pairs: Iterable[Iterable[Link]]) -> Links:
        """From one collection of links a pair, in any order; 8 bytes a link."""
        starts, sources, targets = array("q", [0]), array("i"), array("i")
        for links in pairs:
            for source, target in sorted(set(links)):
                sources.append(source)
                targets.append(target)
            starts.append(len(sources))
        return cls(np.array(starts, dtype=np.int64), *(np.array(side, dtype=np.int32) for side in (sources, targets)))

    @classmethod
    def from_best(cls, side: Side, positions: Int[np.ndarray, " tokens"], *, generated_target: bool) -> Links:
        """From the position that generated each word of a side (-1: NULL), as `aligner.best_links` gives it.

        Args:
            generated_target: whether `side` is the target side; else it is the source side of the links.
        """
        parts = []
        for first in range(0, len(side.starts) - 1, _BLOCK_PAIRS):
            starts = side.starts[first : first + _BLOCK_PAIRS + 1]
            links = _linked(starts - starts[0], positions[starts[0] : starts[-1]])
            parts.append(links.flipped() if generated_target else links)
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        source, target = (np.concatenate([part[column] for part in parts]) for column in (1, 2))
        return cls(np.concatenate([[0], np.cumsum(counts)]), source, target)


def _linked(starts: np.ndarray, positions: np.ndarray) -> Links:
    """Links with the generated words as source."""
    lengths = np.diff(starts)
    pairs = np.repeat(np.arange(len(lengths)), lengths)
    own = (np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)).astype(np.int32)
    linked = positions >= 0
    ends = np.cumsum(np.bincount(pairs[linked], minlength=len(lengths)))
    return Links(np.concatenate([[0], ends]), own[linked], positions[linked].astype(np.int32))


def write_pharaoh(path: Path, links: Links) -> None:
    """Writes `0-0 1-2 2-1`, a line a pair, atomically; a pair without links is an empty line."""
    with written_beside(path) as beside, beside.open("w", encoding="ascii", newline="\n") as file:
        for pair in link_lists(links):
            file.write(" ".join(f"{source}-{target}" for source, target in pair) + "\n")


def read_pharaoh(path: Path, bitext: Bitext | None = None) -> Links:
    """Reads links in Pharaoh format.

    Args:
        bitext: what the links are of: there must be a line for each of its pairs, and positions within its sentences.

    Raises:
        UserError: something that is no link, a position outside its sentence, or as many lines as there are no pairs.
    """
    links = Links.from_lists(_links_of(path, number, line) for number, line in enumerate(read_lines(path), start=1))
    if bitext is not None:
        _check_fits(path, links, bitext)
    return links


def _links_of(path: Path, number: int, line: str) -> list[Link]:
    links = []
    for word in line.split():
        found = _LINK.fullmatch(word)
        if found is None:
            raise UserError(
                f"{path}, line {number:,}: {word!r} is no link; expected positions from 0 as source-target, such as "
                "0-0 1-2: is this a file of links in Pharaoh format?"
            )
        links.append((int(found[1]), int(found[2])))
    return links


def _check_fits(path: Path, links: Links, bitext: Bitext) -> None:
    if links.num_pairs != len(bitext):
        raise UserError(
            f"{path}: {links.num_pairs:,} lines of links but {len(bitext):,} sentence pairs in {bitext.name}; expected "
            "a line for each pair that has words on both sides: align this corpus anew"
        )
    lengths, pairs = (bitext.source.lengths(), bitext.target.lengths()), links.pairs()
    outside = np.flatnonzero((links.source >= lengths[0][pairs]) | (links.target >= lengths[1][pairs]))
    if len(outside):
        link = int(outside[0])
        pair = int(pairs[link])
        raise UserError(
            f"{path}, line {pair + 1:,}: link {links.source[link]}-{links.target[link]}, but line "
            f"{bitext.lines[pair]:,} of {bitext.name} has {lengths[0][pair]} source and {lengths[1][pair]} target "
            "words (positions begin at 0): the links are of another text or another tokenisation; align it anew"
        )


def link_lists(links: Links) -> Iterator[list[Link]]:
    """The links of each pair."""
    return (links.pair(pair) for pair in range(links.num_pairs))
