"""Text that verbs decode and score: a part of a data directory, or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqdistill.data.directory import DataDirectory
from seqdistill.data.targets import lines_of
from seqdistill.errors import UserError
from seqdistill.options import TestTextOptions
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.languages import Languages


class TestSet(NamedTuple):
    """Text to decode, and all references of each line."""

    sources: list[str]
    references: list[list[str]]
    languages: Languages | None = None
    """As the data directory has them."""

    @property
    def num_references(self) -> int:
        """The most of a line."""
        return max(map(len, self.references))


def read_test_set(settings: TestTextOptions, *, verb: str) -> TestSet:
    """The text that a verb was given.

    Raises:
        UserError: none, or two; a data directory without this part; files that cannot be read.
    """
    given = settings.source is not None or bool(settings.reference)
    if given == (settings.data is not None):
        raise UserError(f"{verb} needs either --data (and --split) or --source with --reference")
    if settings.data is not None:
        return text_of_data(settings.data, settings.split)
    if settings.source is None or not settings.reference:
        raise UserError("--source and --reference go together: the text to decode and its translations")
    return text_of_files(settings.source, settings.reference)


def text_of_data(directory: Path, split: str) -> TestSet:
    """A split of a data directory; raises UserError where it has none."""
    data = DataDirectory.open(directory)
    store = getattr(data, split)
    if store is None:
        raise UserError(f"{directory}: has no {split} text; prepare it with some, or give files of text instead")
    lines = list(lines_of(store, num_targets=data.num_targets[split]))
    return TestSet([line.source for line in lines], [line.targets for line in lines], data.languages)


def text_of_files(source: Path, references: Sequence[Path]) -> TestSet:
    """Lines of a file with those of their translations."""
    pairs = list(ParallelCorpus.from_files(source, *references))
    width = len(references)
    targets = [[pair.target for pair in pairs[at : at + width]] for at in range(0, len(pairs), width)]
    return TestSet([pair.source for pair in pairs[::width]], targets)
