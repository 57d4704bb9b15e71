"""A parallel corpus: a stream of sentence pairs that can be read again and again and never lies in memory whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.text.hub import HubData
from seqdistill.text.letters import first_words
from seqdistill.text.lines import read_lines
from seqdistill.text.shift import explain_shift
from seqdistill.text.tables import read_table


class SentencePair(NamedTuple):
    """A sentence and its translation (or a text and its summary); neither holds a line break."""

    source: str
    target: str


class ParallelCorpus:
    """Sentence pairs by a name; each iteration reads them again, in the same order."""

    def __init__(
        self,
        name: str,
        read: Callable[[], Iterable[tuple[str, ...]]],
        *,
        files: tuple[Path, ...] = (),
        num_targets: int = 1,
    ) -> None:
        """Args:
        read: begins a pass over the pairs.
        files: what it reads, where it reads files.
        num_targets: the most targets of a line, each a pair of its own, one after the other.
        """
        self.name = name
        self.files = files
        self.num_targets = num_targets
        self._read = read

    def __iter__(self) -> Iterator[SentencePair]:
        """Raises UserError where the text is faulty, at the latest at its end."""
        return (SentencePair(source, target) for source, target in self._read())

    def sources(self) -> Iterator[str]:
        """The source side."""
        return (pair.source for pair in self)

    def targets(self) -> Iterator[str]:
        """The target side."""
        return (pair.target for pair in self)

    def cut(self, source_words: int, target_words: int) -> ParallelCorpus:
        """The same with only the first words (see `letters.num_words`) of each side; 0 keeps all of them."""
        if not source_words and not target_words:
            return self
        return ParallelCorpus(
            self.name,
            lambda: (
                (
                    first_words(source, source_words) if source_words else source,
                    first_words(target, target_words) if target_words else target,
                )
                for source, target in self
            ),
            files=self.files,
            num_targets=self.num_targets,
        )

    @classmethod
    def from_files(cls, source: Path, *targets: Path) -> ParallelCorpus:
        """Files aligned line by line, plain or compressed; see `read_lines` for what a line is.

        With several target files each line gives as many pairs: its source with each of its targets, in the order of
        the files.

        Raises, on reading:
            UserError: the files differ in length (naming all counts and where they probably part), or `read_lines`'s.
        """
        assert targets, "parallel text has two sides"
        paths = tuple(Path(path) for path in (source, *targets))
        for path in paths:
            _must_exist(path)
        name = "+".join(path.name for path in paths)
        return cls(name, lambda: _paired(_aligned(paths)), files=paths, num_targets=len(targets))

    @classmethod
    def from_table(cls, path: Path, source_column: str = "source", target_column: str = "target") -> ParallelCorpus:
        """One `.tsv`, `.jsonl` (each also compressed) or `.parquet` file; see `read_table` for how columns are named.

        Raises, on reading:
            UserError: as `read_table`.
        """
        path = Path(path)
        _must_exist(path)
        return cls(path.name, lambda: read_table(path, (source_column, target_column)), files=(path,))

    @classmethod
    def from_hub(cls, data: HubData, split: str, source_column: str, *target_columns: str) -> ParallelCorpus:
        """A split of a data set of the hub (see `load_hub`); columns may be nested, as `translation.de`.

        With several target columns each row gives as many pairs.

        Raises, on reading:
            UserError: no such split or column, or a value that is no text.
        """
        columns = (source_column, *target_columns)
        rows = f"hub:{data.name}:{split}", lambda: _paired(data.rows(split, columns))
        return cls(*rows, num_targets=len(target_columns))

    @classmethod
    def from_pairs(cls, name: str, pairs: Iterable[tuple[str, str]]) -> ParallelCorpus:
        """Pairs held in memory."""
        rows = [(source, target) for source, target in pairs]
        return cls(name, lambda: rows)

    @classmethod
    def from_rows(cls, name: str, rows: Iterable[Sequence[str]], *, num_targets: int) -> ParallelCorpus:
        """Rows held in memory, each a source and its `num_targets` targets."""
        held = list(rows)
        assert all(len(row) == 1 + num_targets for row in held)
        return cls(name, lambda: _paired(held), num_targets=num_targets)


class Splits(NamedTuple):
    """A corpus in its parts; what a public source has no part for is None."""

    train: ParallelCorpus
    valid: ParallelCorpus | None
    test: ParallelCorpus | None


def _must_exist(path: Path) -> None:
    """Tells of a missing file before any work begins."""
    if not path.exists():
        raise UserError(f"{path}: no such file")


def _aligned(paths: Sequence[Path]) -> Iterator[tuple[str, ...]]:
    """Line by line; at the end all files must end."""
    for row in zip_longest(*(read_lines(path) for path in paths)):
        if None in row:
            raise UserError(explain_shift(*paths))
        yield row


def _paired(rows: Iterable[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The source of each row with each of its targets."""
    return ((row[0], target) for row in rows for target in row[1:])
