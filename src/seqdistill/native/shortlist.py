"""Shortlists: the target ids that an output layer computes for a sentence, in place of the whole vocabulary.

A table holds `common` ids, which every sentence may use (the most frequent, those that spell anything, EOS), and for
each source id the targets that translate it. A sentence's shortlist is their union, and no other sentence's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.native import library

SHORTLIST = "shortlist.bin"
"""starts, common and targets, one after the other."""


class RaggedLists(NamedTuple):
    """Lists as the engine takes them, and what keeps their memory."""

    pointers: library.Lists
    memory: Any = None


class ShortlistTable(NamedTuple):
    """The table of a model."""

    starts: Sequence[int]
    """int32: where the targets of each source id begin, and where the last ones end."""
    common: Sequence[int]
    """int32, ascending."""
    targets: Sequence[int]
    """uint16, or uint32 where the vocabulary is larger; ascending for each source id, none of `common`."""

    def of(self, source: Sequence[int]) -> list[int]:
        """The ids of a sentence, ascending; `Shortlists` finds the same of a batch, quickly.

        >>> ShortlistTable([0, 2, 3, 4], [0, 9], [4, 5, 4, 7]).of([0, 1, 0])
        [0, 4, 5, 9]
        """
        found = set(self.common)
        for token in set(source):
            found.update(self.targets[self.starts[token] : self.starts[token + 1]])
        return sorted(found)


class Shortlists:
    """The shortlists of batches, found by the engine."""

    def __init__(self, engine: ctypes.CDLL, table: ShortlistTable, *, target_vocab: int) -> None:
        self._engine, self._target_vocab = engine, target_vocab
        self._common = len(table.common)
        self._longest = max(
            (end - start for start, end in zip(table.starts, table.starts[1:], strict=False)), default=0
        )
        self._parts = [_kept(part) for part in table]
        self._table = library.Shortlist(
            *(ctypes.addressof(self._parts[at]) for at in (0, 1, 2)),
            target_bytes(target_vocab),
            self._common,
            len(table.starts) - 1,
            target_vocab,
        )

    def of(self, sources: library.Lists, tokens: int, sentences: int) -> RaggedLists:
        """Those of a batch's sentences, which have so many tokens together."""
        most = min(sentences * self._target_vocab, sentences * self._common + tokens * self._longest)
        values, ends = (ctypes.c_int32 * (most + 1))(), (ctypes.c_int64 * sentences)()
        marks = (ctypes.c_uint64 * (-(-self._target_vocab // 64)))()
        self._engine.sd_shortlists(ctypes.byref(self._table), ctypes.byref(sources), sentences, marks, values, ends)
        return RaggedLists(library.Lists(ctypes.addressof(values), ctypes.addressof(ends)), (values, ends))


def _kept(part: Sequence[int]) -> Any:
    """The memory of a part of an opened table; of an empty one, memory that is not read."""
    return ctypes.c_char.from_buffer(part) if len(part) else ctypes.c_char()  # type: ignore[arg-type]


def target_bytes(targets: int) -> int:
    """Bytes of a target id in a vocabulary of so many."""
    return 2 if targets <= 1 << 16 else 4


def read_table(
    directory: Path, counts: Mapping[str, Any] | None, *, sources: int, targets: int, remedy: str
) -> ShortlistTable | None:
    """The table of an exported directory, whose hash was checked; None where it has none.

    Args:
        counts: `common` and `entries`, as the description has them.
        sources, targets: sizes of the vocabularies.

    Raises:
        UserError: the table is of another vocabulary, or holds what is no id.
    """
    if counts is None:
        return None
    path = directory / SHORTLIST
    common, entries, width = counts.get("common"), counts.get("entries"), target_bytes(targets)
    data = memoryview(bytearray(path.read_bytes()))
    if (
        type(common) is not int
        or type(entries) is not int
        or min(common, entries) < 0
        or len(data) != 4 * (sources + 1 + common) + width * entries
    ):
        raise UserError(f"{path}: is the shortlist of another vocabulary; {remedy}")
    edges = 4 * (sources + 1), 4 * (sources + 1 + common)
    kind = "H" if width == 2 else "I"
    table = ShortlistTable(data[: edges[0]].cast("i"), data[edges[0] : edges[1]].cast("i"), data[edges[1] :].cast(kind))
    starts = list(table.starts)
    if starts[0] != 0 or starts[-1] != entries or sorted(starts) != starts:
        raise UserError(f"{path}: its rows do not follow each other; {remedy}")
    for ids in (table.common, table.targets):
        if len(ids) and not (min(ids) >= 0 and max(ids) < targets):
            raise UserError(f"{path}: holds ids beyond the vocabulary of {targets:,}; {remedy}")
    return table
