"""Which words meet in which sentence pairs: the aligner's cells, each with its entry in the table of word pairs.

A cell is one source and one target position of a pair; an entry is a source and a target word that share a cell
somewhere. Pairs are grouped by shape (source and target length), so a group is one three-dimensional array, and groups
are cut into chunks small enough for a processor's cache. What each chunk needs lies in a temporary file: memory holds
the table and one chunk a thread, however long the corpus.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int

from seqdistill.errors import UserError
from seqdistill.measures.bitext import Bitext, Side
from seqdistill.progress import Progress, Silent

CHUNK_CELLS = 1 << 18
_BLOCK = 1 << 22

Item = TypeVar("Item")
Done = TypeVar("Done")


class Group(NamedTuple):
    """Pairs of one shape within a chunk; `cells` says where theirs lie in it, pair by pair, source by source word."""

    pairs: Int[np.ndarray, " group"]
    source_length: int
    target_length: int
    cells: slice

    def ids(self, side: Side, length: int) -> Int[np.ndarray, "group length"]:
        """The words of one side, of that length in this group."""
        # (group, 1) + (length) -> (group, length): pairs of one length have their words in as many columns.
        return side.ids[side.starts[self.pairs][:, None] + np.arange(length)]


class Chunk(NamedTuple):
    """Groups that are worked on at once, and where in the file their entries and cells lie."""

    groups: tuple[Group, ...]
    num_cells: int
    num_entries: int
    offset: int


class ChunkCells(NamedTuple):
    """Content of the file for a chunk."""

    entries: Int[np.ndarray, " entries"]
    """Numbers in the table, ascending."""
    which: Int[np.ndarray, " cells"]
    """For each cell an index into `entries`."""


class Cells:
    """All cells of a bitext.

    Attributes:
        row_starts: where the entries of each source word begin, and where the last ones end.
        targets: the target word of each entry, ascending within a row.
        chunks: all pairs, in an order that depends on their shapes alone.

    Two pairs of shapes 2 x 2 and 1 x 1 have five cells but four entries, as "das" meets "the" in both. Words are
    numbered by the alphabet: Haus 0, das 1; house 0, the 1. The shorter pair comes first in the chunk.

        >>> from seqdistill.measures.bitext import read_bitext
        >>> from seqdistill.measures.tokenizers import create_tokenizer
        >>> words = create_tokenizer(name="none")
        >>> cells = Cells(read_bitext([("das Haus", "the house"), ("das", "the")], words, words, name="toy"))
        >>> cells.row_starts.tolist(), cells.targets.tolist()  # Haus: house the, das: house the
        ([0, 2, 4], [0, 1, 0, 1])
        >>> cells.read(cells.chunks[0]).which.tolist()  # das-the; das-the das-house Haus-the Haus-house
        [3, 3, 2, 1, 0]
    """

    def __init__(
        self, bitext: Bitext, *, workers: int = 1, scratch: Path | None = None, progress: Progress | None = None
    ) -> None:
        """Finds the entries and writes the file, in two passes.

        Args:
            workers: threads; the result is the same for any number.
            scratch: folder of the temporary file, about 6 bytes a cell; None: the system's.

        Raises:
            UserError: no file can be made there.
        """
        progress = progress or Silent()
        self.bitext = bitext
        self._width = np.int64(len(bitext.target.words))
        groupings = list(_chunked(bitext))
        progress.start(f"finding word pairs of {bitext.name}", total=2 * len(bitext), unit="pairs")
        # A cell's key is source word * size of the target vocabulary + target word. Its entry is the rank of its key
        # among all different ones, so entries are sorted by source, then target word, and a row is a range of them.
        keys = self._distinct_keys(groupings, workers, progress)
        words = np.arange(len(bitext.source.words) + 1)
        self.row_starts = np.searchsorted(keys, words * self._width)
        self._file = _temporary_file(scratch)
        self.chunks = self._written(groupings, keys, workers, progress)
        self.targets = np.empty(len(keys), dtype=np.int32)
        for start in range(0, len(keys), _BLOCK):
            self.targets[start : start + _BLOCK] = keys[start : start + _BLOCK] % self._width
        progress.finish()

    @property
    def num_entries(self) -> int:
        """Different pairs of words that share a sentence pair."""
        return len(self.targets)

    def read(self, chunk: Chunk) -> ChunkCells:
        """A chunk's part of the file; may be called from several threads."""
        # With an offset of its own a read moves no position that threads share.
        data = os.pread(self._file.fileno(), 4 * (chunk.num_entries + chunk.num_cells), chunk.offset)
        numbers = np.frombuffer(data, dtype=np.int32)
        return ChunkCells(numbers[: chunk.num_entries], numbers[chunk.num_entries :])

    def close(self) -> None:
        """Gives the temporary file back."""
        self._file.close()

    def _keys(self, groups: Iterable[Group]) -> Int[np.ndarray, " cells"]:
        """Source word times size of the target vocabulary plus target word, of each cell."""
        bitext = self.bitext
        parts = []
        for group in groups:
            sources = group.ids(bitext.source, group.source_length).astype(np.int64) * self._width
            targets = group.ids(bitext.target, group.target_length)
            # (group, source, 1) + (group, 1, target) -> (group, source, target). Of 2 target words, das (1) and the (1)
            # have the key 1 * 2 + 1 = 3.
            parts.append((sources[:, :, None] + targets[:, None, :]).ravel())
        return np.concatenate(parts)

    def _distinct_keys(
        self, groupings: list[tuple[Group, ...]], workers: int, progress: Progress
    ) -> Int[np.ndarray, " entries"]:
        """All keys in ascending order, each once; runs of like size are merged, so that each key moves rarely."""
        runs: list[np.ndarray] = []
        for groups, keys in zip(
            groupings, in_order(lambda groups: distinct(self._keys(groups)), groupings, workers=workers), strict=True
        ):
            # A stack of runs, each at least twice as long as the next, so that a key is merged about as often as one
            # chunk's run can be doubled until it is all of them.
            runs.append(keys)
            while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
                runs[-2:] = [_merged(runs)]
            progress.advance(sum(len(group.pairs) for group in groups))
        while len(runs) > 1:
            runs[-2:] = [_merged(runs)]
        return runs[0]

    def _written(
        self, groupings: list[tuple[Group, ...]], keys: np.ndarray, workers: int, progress: Progress
    ) -> list[Chunk]:
        def resolved(groups: tuple[Group, ...]) -> ChunkCells:
            # Keys are looked up once for each different one of the chunk; cells then point into that short list. In
            # training the same indirection adds up a chunk's counts in a small array before they reach the table.
            own, which = np.unique(self._keys(groups), return_inverse=True)
            return ChunkCells(np.searchsorted(keys, own).astype(np.int32), which.astype(np.int32))

        chunks, offset = [], 0
        for groups, cells in zip(groupings, in_order(resolved, groupings, workers=workers), strict=True):
            for numbers in cells:
                self._file.write(numbers.tobytes())
            chunks.append(Chunk(groups, len(cells.which), len(cells.entries), offset))
            offset += 4 * (len(cells.which) + len(cells.entries))
            progress.advance(sum(len(group.pairs) for group in groups))
        self._file.flush()
        return chunks


def _temporary_file(scratch: Path | None) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=scratch, prefix="seqdistill-cells-")
    except OSError as error:
        raise UserError(
            f"{scratch or tempfile.gettempdir()}: no temporary file can be made there ({error.strerror}); name a "
            "folder that can be written to as --scratch"
        ) from None


def in_order(function: Callable[[Item], Done], items: Iterable[Item], *, workers: int) -> Iterator[Done]:
    """`map` by several threads, a few items ahead of the reader; numpy works outside Python's global lock."""
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        # Results are taken in the order of the items, whichever is done first; at most 2 * workers wait.
        ahead: deque[Future[Done]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def distinct(keys: np.ndarray) -> np.ndarray:
    """The different values in ascending order, found in place: the memory of `keys` is reused and cut."""
    # A block is read before anything is written over it, as no more is kept than was read.
    keys.sort()
    kept = 0
    last = None
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        # 1 1 3 3 has fresh values at places 0 and 2; `last` carries the comparison over to the next block.
        fresh = np.empty(len(block), dtype=bool)
        fresh[0] = last is None or block[0] != last
        np.not_equal(block[1:], block[:-1], out=fresh[1:])
        last = block[-1]
        found = block[fresh]
        keys[kept : kept + len(found)] = found
        kept += len(found)
    keys.resize(kept, refcheck=False)
    return keys


def _merged(runs: list[np.ndarray]) -> np.ndarray:
    """The last two runs as one; their own memory is given back first."""
    both = np.concatenate(runs[-2:])
    runs[-2:] = [both[:0], both[:0]]
    return distinct(both)


def _chunked(bitext: Bitext) -> Iterator[tuple[Group, ...]]:
    """All pairs by shape, cut so that a chunk has at most CHUNK_CELLS cells, or one pair."""
    # Pairs of one shape are neighbours in `order`. A shape goes on in the next chunk where this one is full; a chunk
    # goes on with the next shape where there is room. Nothing depends on the number of threads.
    sources, targets = bitext.source.lengths(), bitext.target.lengths()
    order = np.lexsort((targets, sources))
    shapes = np.stack([sources[order], targets[order]])
    edges = np.flatnonzero((np.diff(shapes) != 0).any(axis=0)) + 1
    groups: list[Group] = []
    used = 0
    for start, stop in pairwise([0, *edges.tolist(), len(order)]):
        rows, columns = (int(length) for length in shapes[:, start])
        while start < stop:
            fitting = (CHUNK_CELLS - used) // (rows * columns)
            if not fitting and groups:
                yield tuple(groups)
                groups, used = [], 0
                continue
            # A pair with more cells than a chunk is a chunk by itself.
            taken = min(max(fitting, 1), stop - start)
            cells = slice(used, used + taken * rows * columns)
            groups.append(Group(order[start : start + taken], rows, columns, cells))
            start, used = start + taken, cells.stop
    yield tuple(groups)
