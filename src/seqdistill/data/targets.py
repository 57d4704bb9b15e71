"""Data whose sources have several targets, a pair each: the same text with every source once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from seqdistill.data.store import Store
from seqdistill.text.splits import hash64


class DistinctSources(Sequence[str]):
    """The different sources of a store, in the order in which they first occur, each with the targets of all its pairs.

    Texts stay in the store; this takes 24 bytes a pair.
    """

    def __init__(self, store: Store) -> None:
        # Numbered by first occurrence: np.unique numbers them by hash, `place` turns that into their order in the text.
        # `_pairs` then lists the pairs of source 0, of source 1, and so on, each in the store's order.
        hashes = np.fromiter(map(hash64, store.sources()), dtype=np.uint64)
        _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self._store = store
        self._first = first[order]
        self._pairs = np.argsort(place[number], kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(place[number], minlength=len(order)))])

    def __len__(self) -> int:
        """Number of different sources."""
        return len(self._first)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._store.source_text(int(pair)) for pair in self._first[at]]
        return self._store.source_text(int(self._first[at]))

    def __iter__(self) -> Iterator[str]:
        """Every one in order, as the store streams."""
        # In the order of the store, which is that of first occurrence.
        first = set(self._first.tolist())
        return (text for pair, text in enumerate(self._store.sources()) if pair in first)

    def targets(self) -> Iterator[list[str]]:
        """All targets of each source, in the store's order."""
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            yield [self._store.target_text(int(pair)) for pair in self._pairs[start:end]]


class Line(NamedTuple):
    """A line of text with several targets.

    Args:
        pairs: where they are in the store.
    """

    source: str
    targets: list[str]
    pairs: range


def lines_of(store: Store, *, num_targets: int) -> Iterator[Line]:
    """The lines that a split's pairs were made of: neighbours with the same source, at most `num_targets` of them.

    Validation and test text has all targets of every line, so these are the very lines of its files.
    """
    source, targets, start = "", list[str](), 0
    for pair, (text, target) in enumerate(zip(store.sources(), store.targets(), strict=True)):
        if targets and (text != source or len(targets) == num_targets):
            yield Line(source, targets, range(start, pair))
            targets = []
        if not targets:
            source, start = text, pair
        targets.append(target)
    if targets:
        yield Line(source, targets, range(start, len(store)))
