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
        """The same links with the two languages exchanged."""
        order = np.lexsort((self.source, self.target, self.pairs()))
        return Links(self.starts, self.target[order], self.source[order])

    def words(self, side: Side, *, of_source: bool) -> Int[np.ndarray, " links"]:
        """The word number of each link on one side of the bitext."""
        positions = self.source if of_source else self.target
        # The start of each link's sentence plus its position there is its place among all words.
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
        # Made with the generated word first, which is ascending; flipped where it is to be the target.
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
    # Positions in their sentences: of 3 and 2 words 0 1 2 0 1.
    own = (np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)).astype(np.int32)
    linked = positions >= 0
    ends = np.cumsum(np.bincount(pairs[linked], minlength=len(lengths)))
    return Links(np.concatenate([[0], ends]), own[linked], positions[linked].astype(np.int32))


def write_pharaoh(path: Path, links: Links, bitext: Bitext) -> None:
    """Writes `0-0 1-2 2-1` for each line of the text, atomically; a line that was skipped has no link, and is empty."""
    with written_beside(path) as beside, beside.open("w", encoding="ascii", newline="\n") as file:
        written = 0
        for line, pair in zip(bitext.lines.tolist(), link_lists(links), strict=True):
            # Pairs at lines 1 and 4: two empty lines between them.
            file.write("\n" * (line - 1 - written))
            file.write(" ".join(f"{source}-{target}" for source, target in pair) + "\n")
            written = line
        file.write("\n" * (bitext.num_lines - written))


def read_pharaoh(path: Path, bitext: Bitext | None = None) -> Links:
    """Reads links in Pharaoh format: of its pairs where a bitext is given, otherwise of every line.

    Args:
        bitext: what the links are of: there must be a line for each of its lines, empty for one that it skipped, and
            positions within its sentences.

    Raises:
        UserError: a word that is not a link, a position outside its sentence, links of a skipped line, or another
            number of lines.
    """
    links = Links.from_lists(_links_of(path, number, line) for number, line in enumerate(read_lines(path), start=1))
    return links if bitext is None else _of_pairs(path, links, bitext)


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


def _of_pairs(path: Path, lines: Links, bitext: Bitext) -> Links:
    if lines.num_pairs != bitext.num_lines:
        raise UserError(
            f"{path}: {lines.num_pairs:,} lines of links but {bitext.num_lines:,} lines in {bitext.name}; expected a "
            "line for each, empty where a line was skipped: align this corpus again"
        )
    skipped = np.ones(bitext.num_lines, dtype=bool)
    skipped[bitext.lines - 1] = False
    if len(linked := np.flatnonzero(skipped & (np.diff(lines.starts) > 0))):
        raise UserError(
            f"{path}, line {linked[0] + 1:,}: links, but this line of {bitext.name} has no sentence pair: the links "
            "are of another text; align it again"
        )
    # Skipped lines have no links, so dropping their starts leaves the links themselves as they are.
    links = lines._replace(starts=np.append(lines.starts[bitext.lines - 1], lines.starts[-1]))
    _check_positions(path, links, bitext)
    return links


def _check_positions(path: Path, links: Links, bitext: Bitext) -> None:
    lengths, pairs = (bitext.source.lengths(), bitext.target.lengths()), links.pairs()
    outside = np.flatnonzero((links.source >= lengths[0][pairs]) | (links.target >= lengths[1][pairs]))
    if len(outside):
        link = int(outside[0])
        pair = int(pairs[link])
        raise UserError(
            f"{path}, line {bitext.lines[pair]:,}: link {links.source[link]}-{links.target[link]}, but this line of "
            f"{bitext.name} has {lengths[0][pair]} source and {lengths[1][pair]} target words (positions begin at 0): "
            "the links are of another text or another tokenisation; align it again"
        )


def link_lists(links: Links) -> Iterator[list[Link]]:
    """The links of each pair."""
    return (links.pair(pair) for pair in range(links.num_pairs))
