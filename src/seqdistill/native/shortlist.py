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


class ShortlistTable(NamedTuple):
    """The table of a model."""

    starts: Sequence[int]
    """int32: where the targets of each source id begin, and where the last ones end."""
    common: Sequence[int]
    """int32, ascending."""
    targets: Sequence[int]
    """uint16, or uint32 where the vocabulary is larger; ascending for each source id, none of `common`."""

    def of(self, source: Sequence[int]) -> list[int]:
        """The ids of a sentence, ascending; the engine finds the same of a batch, quickly.

        >>> ShortlistTable([0, 2, 3, 4], [0, 9], [4, 5, 4, 7]).of([0, 1, 0])
        [0, 4, 5, 9]
        """
        found = set(self.common)
        for token in set(source):
            found.update(self.targets[self.starts[token] : self.starts[token + 1]])
        return sorted(found)


def engine_table(table: ShortlistTable, *, target_vocab: int) -> tuple[library.Shortlist, Any]:
    """A table as the engine takes it, and what keeps its memory."""
    parts = [_kept(part) for part in table]
    places = map(ctypes.addressof, parts)
    vocabularies = len(table.starts) - 1, target_vocab
    return library.Shortlist(*places, target_bytes(target_vocab), len(table.common), *vocabularies), parts


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
