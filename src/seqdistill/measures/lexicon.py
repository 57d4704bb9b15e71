"""Lexical tables p(target word | source word): from an aligner's model or counted on links; complete, saved, read."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from seqdistill.errors import UserError
from seqdistill.files import written_beside
from seqdistill.measures.aligner import FORWARD, WordModel
from seqdistill.measures.bitext import Bitext, Side
from seqdistill.measures.cells import Cells
from seqdistill.measures.links import Links

BLOCK_ENTRIES = 1 << 22
_FORMAT = "seqdistill lexical table 1"


@dataclass(frozen=True)
class LexicalTable:
    """p(target | source), rows by source word; each row that has an entry sums to 1, NULL left out.

    Args:
        source_words, target_words: the vocabularies, in alphabetical order.
        source_frequencies, target_frequencies: how often each word occurs in the corpus.
        starts: where the entries of each source word begin, and where the last ones end.
        targets: the target word of each entry, ascending within a row.
        probabilities: of each entry.
        signature: its inputs and settings.
    """

    source_words: tuple[str, ...]
    target_words: tuple[str, ...]
    source_frequencies: Int[np.ndarray, " source_words"]
    target_frequencies: Int[np.ndarray, " target_words"]
    starts: Int[np.ndarray, " source_words_and_1"]
    targets: Int[np.ndarray, " entries"]
    probabilities: Float[np.ndarray, " entries"]
    signature: str

    def row(self, word: str) -> dict[str, float]:
        """The translations of a word with their probabilities; empty for an unknown or unlinked word."""
        at = int(np.searchsorted(np.array(self.source_words, dtype=object), word))
        if at == len(self.source_words) or self.source_words[at] != word:
            return {}
        own = slice(self.starts[at], self.starts[at + 1])
        names = (self.target_words[target] for target in self.targets[own])
        return dict(zip(names, self.probabilities[own].tolist(), strict=True))

    def has_row(self) -> np.ndarray:
        """Whether each source word has any translation."""
        return np.diff(self.starts) > 0

    def blocks(self) -> Iterator[slice]:
        """Ranges of source words whose entries fit into memory several times."""
        yield from _blocks(self.starts)

    def sum_rows(self, values: Float[np.ndarray, " entries"], block: slice) -> Float[np.ndarray, " rows"]:
        """Sums of the block's entries by source word."""
        return sum_rows(self.starts[block.start : block.stop + 1], values)

    def entries(self, block: slice) -> slice:
        """The entries of a range of source words."""
        return slice(int(self.starts[block.start]), int(self.starts[block.stop]))

    def entropies(self) -> Float[np.ndarray, " source_words"]:
        """H(y | x) of each source word in nats (Zhou et al. 2020, equation 3, word by word); 0 without a row."""
        found = np.zeros(len(self.source_words))
        for block in self.blocks():
            chances = self.probabilities[self.entries(block)]
            terms = -chances * np.log(np.where(chances > 0, chances, 1.0))
            found[block] = self.sum_rows(terms, block)
        return found

    def entries_of(
        self, sources: Int[np.ndarray, " pairs"], targets: Int[np.ndarray, " pairs"]
    ) -> Int[np.ndarray, " pairs"]:
        """The entry of each word pair, which must have one."""
        # Entries are sorted by source, then target word, hence their keys ascend: an entry is the place of its key.
        width = np.int64(len(self.target_words))
        keys = np.repeat(np.arange(len(self.source_words)), np.diff(self.starts)) * width + self.targets
        found = np.empty(len(sources), dtype=np.int64)
        for start in range(0, len(sources), BLOCK_ENTRIES):
            block = slice(start, start + BLOCK_ENTRIES)
            wanted = sources[block] * width + targets[block]
            order = np.argsort(wanted)  # ascending, each search begins in memory that the one before has just read
            found[block][order] = np.searchsorted(keys, wanted[order])
        return found

    def save(self, path: Path) -> None:
        """Writes the table as a `.npz` file, atomically."""
        with written_beside(path) as beside, beside.open("wb") as file:
            np.savez(
                file,
                format=np.array(_FORMAT),
                source_words=_packed(self.source_words),
                target_words=_packed(self.target_words),
                source_frequencies=self.source_frequencies,
                target_frequencies=self.target_frequencies,
                starts=self.starts,
                targets=self.targets,
                probabilities=self.probabilities,
                signature=np.array(self.signature),
            )

    def write_text(self, path: Path) -> None:
        """Writes `source<tab>target<tab>probability`, a line an entry, gzipped and atomically: for other programs."""
        # Neither a name, which has the number of the process, nor a time in the header: the same table, the same bytes.
        with (
            written_beside(path) as beside,
            beside.open("wb") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
        ):
            for row, word in enumerate(self.source_words):
                own = slice(int(self.starts[row]), int(self.starts[row + 1]))
                entries = zip(self.targets[own].tolist(), self.probabilities[own].tolist(), strict=True)
                lines = (f"{word}\t{self.target_words[target]}\t{chance:.6g}\n" for target, chance in entries)
                packed.write("".join(lines).encode())

    @classmethod
    def load(cls, path: Path) -> LexicalTable:
        """Reads what `save` wrote.

        Raises:
            UserError: no such file, or not a lexical table.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                if str(held["format"]) != _FORMAT:
                    raise KeyError("format")
                arrays = {name: held[name] for name in held.files}
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; expected a lexical table written by LexicalTable.save") from None
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path}: not a lexical table of this version ({error}); expected the .npz file that LexicalTable.save "
                "wrote: align the corpus again"
            ) from None
        return cls(
            _unpacked(arrays["source_words"]),
            _unpacked(arrays["target_words"]),
            arrays["source_frequencies"],
            arrays["target_frequencies"],
            arrays["starts"],
            arrays["targets"],
            arrays["probabilities"],
            str(arrays["signature"]),
        )


def table_of_model(cells: Cells, model: WordModel) -> LexicalTable:
    """The model's parameters, every entry kept, each row renormalised (under variational Bayes it sums to less than 1).

    A reverse model gives p(source | target), its target words as rows.
    """
    source, target, starts = cells.bitext.source, cells.bitext.target, cells.row_starts
    targets, probabilities = cells.targets, model.table.astype(np.float64)
    if model.direction is not FORWARD:  # transposed: stable, so source words stay in order within each target word
        rows = np.repeat(np.arange(len(source.words), dtype=np.int32), np.diff(starts))
        order = np.argsort(targets, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=len(target.words)))])
        targets, probabilities = rows[order], probabilities[order]
        source, target = target, source
    _normalise(probabilities, starts)
    signature = f"{cells.bitext.signature}|{model.options.signature}|table:model-{model.direction.name}"
    return _table(source, target, starts, targets, probabilities, signature)


def table_of_links(bitext: Bitext, links: Links, signature: str) -> LexicalTable:
    """Relative frequencies of links; a source word without a link has no row.

    Args:
        signature: of the alignment.
    """
    width = np.int64(len(bitext.target.words))
    sources = links.words(bitext.source, of_source=True)
    keys, counts = np.unique(sources * width + links.words(bitext.target, of_source=False), return_counts=True)
    # Keys ascend by source, then target word: row x begins at the first key that is x * width or more.
    starts = np.searchsorted(keys, np.arange(len(bitext.source.words) + 1) * width)
    probabilities = counts.astype(np.float64)
    _normalise(probabilities, starts)
    targets = (keys % width).astype(np.int32)
    signature = f"{bitext.signature}|{signature}|table:links"
    return _table(bitext.source, bitext.target, starts, targets, probabilities, signature)


def sum_rows(starts: Int[np.ndarray, " rows_and_1"], values: Float[np.ndarray, " entries"]) -> np.ndarray:
    """Sums of runs of values; `starts` may begin above 0, as a part of longer ones.

    >>> sum_rows(np.array([10, 12, 12, 13]), np.array([1.0, 2.0, 5.0])).tolist()
    [3.0, 0.0, 5.0]
    """
    # Of an empty run np.add.reduceat gives the value at its start, not 0: only the others are summed.
    sums = np.zeros(len(starts) - 1)
    filled = np.diff(starts) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values, starts[:-1][filled] - starts[0])
    return sums


def _table(
    source: Side, target: Side, starts: np.ndarray, targets: np.ndarray, probabilities: np.ndarray, signature: str
) -> LexicalTable:
    frequencies = source.frequencies(), target.frequencies()
    return LexicalTable(source.words, target.words, *frequencies, starts, targets, probabilities, signature)


def _normalise(probabilities: np.ndarray, starts: np.ndarray) -> None:
    """Makes rows sum to 1, in place; a row whose every chance has vanished becomes uniform."""
    for block in _blocks(starts):
        own = slice(int(starts[block.start]), int(starts[block.stop]))
        lengths = np.diff(starts[block.start : block.stop + 1])
        # (rows) -> (entries): each entry gets the sum of its row.
        sums = np.repeat(sum_rows(starts[block.start : block.stop + 1], probabilities[own]), lengths)
        chances = probabilities[own] / np.where(sums > 0, sums, 1.0)
        probabilities[own] = np.where(sums > 0, chances, 1 / np.repeat(lengths, lengths))


def _blocks(starts: np.ndarray) -> Iterator[slice]:
    first = 0
    while first < len(starts) - 1:
        # The last row that ends within BLOCK_ENTRIES of the first; a longer row is a block by itself.
        fitting = int(np.searchsorted(starts, starts[first] + BLOCK_ENTRIES, side="right")) - 1
        last = max(fitting, first + 1)
        yield slice(first, last)
        first = last


def _packed(words: tuple[str, ...]) -> np.ndarray:
    """The words as UTF-8 bytes, a line each; words hold no line break."""
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def _unpacked(data: np.ndarray) -> tuple[str, ...]:
    return tuple(data.tobytes().decode().split("\n"))
