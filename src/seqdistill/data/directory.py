"""A data directory: the token stores of a corpus and the tokenizers that encoded them.

It holds `train.arrow`, `valid.arrow` and `test.arrow` (if there is such text), `tokenizer/`, and `data.json`, which is
written last and names fingerprint and hash of every part, so that neither parts of different preparations are taken
together nor altered ones believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.data.store import Store
from seqdistill.data.targets import DistinctSources
from seqdistill.errors import UserError
from seqdistill.files import sha256_file, sha256_json
from seqdistill.journal import check_edition
from seqdistill.seals import check_file, read_sealed
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies

DESCRIPTION, UNFINISHED = "data.json", ".prepare.json"
SPLITS = ("train", "valid", "test")
REMEDY = "copy the whole folder again, or delete it and run the command that made it again"


class Split(NamedTuple):
    """What `data.json` says of a split."""

    fingerprint: str
    """Of the store."""
    sha256: str
    """Of the file."""
    bytes: int
    num_targets: int
    """The most targets of a line: above 1 where each line is as many pairs, one after the other."""

    @staticmethod
    def of(path: Path, num_targets: int) -> Split:
        """Of a store that was just written."""
        return Split(Store.open(path).fingerprint, sha256_file(path), path.stat().st_size, num_targets)

    def check(self, path: Path) -> None:
        """Raises UserError unless this file is that store, to the last bit."""
        check_file(path, self.sha256, remedy=REMEDY)


class DataDirectory:
    """A data directory opened for reading. A split is read against its hash when it is first asked for."""

    path: Path
    tokenizers: Vocabularies
    fingerprint: str
    """Hash of every split, of the tokenizers and of the languages."""
    num_targets: Mapping[str, int]
    """See `Split`, by split."""
    languages: Languages
    """Of the text, and so what words are when it is scored or measured."""

    def __init__(
        self,
        path: Path,
        tokenizers: Vocabularies,
        splits: Mapping[str, Split],
        languages: Languages,
        fingerprint: str,
    ) -> None:
        """Use `open`."""
        self.path, self.tokenizers, self.fingerprint, self._splits = path, tokenizers, fingerprint, splits
        self.num_targets = {name: split.num_targets for name, split in splits.items()}
        self.languages = languages

    @cached_property
    def train(self) -> Store:
        """The training pairs; raises UserError as `open`, and where a bit of the file was altered."""
        return self._store("train")

    @cached_property
    def sources_to_decode(self) -> Store | DistinctSources:
        """Training sources that new targets are for: of every pair, or each once where sources have several targets."""
        return DistinctSources(self.train) if self.num_targets["train"] > 1 else self.train

    @cached_property
    def valid(self) -> Store | None:
        """The validation pairs; raises as `train`."""
        return self._store("valid") if "valid" in self._splits else None

    @cached_property
    def test(self) -> Store | None:
        """The test pairs; raises as `train`."""
        return self._store("test") if "test" in self._splits else None

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Checks that every part is there, and that they belong together; reads no text, so it takes milliseconds.

        Raises:
            UserError: no or an unfinished data directory; a part is missing, cut, of another preparation, or was
                encoded with another tokenizer; its description or a tokenizer was altered.
        """
        path = Path(path)
        if not (path / DESCRIPTION).is_file():
            unfinished = (path / UNFINISHED).is_file()
            raise UserError(
                f"{path}: its preparation was cut off; run the same `seqdistill prepare` again, it continues"
                if unfinished
                else f"{path}: no data directory (it holds no {DESCRIPTION}); `seqdistill prepare` makes one"
            )
        # The description is written last, so all that it names was finished; each part is compared with it.
        description = read_sealed(path / DESCRIPTION, remedy=REMEDY)
        check_edition(description.get("record"), path)
        tokenizers = Vocabularies.load(path / "tokenizer")
        splits, languages = splits_of(description), Languages.read(description["languages"])
        fingerprint = directory_fingerprint(tokenizers, splits, languages)
        if fingerprint != description["fingerprint"]:
            raise UserError(
                f"{path / 'tokenizer'}: is not the tokenizer that the text beside it was encoded with; copy the whole "
                "folder again, or run seqdistill prepare again"
            )
        for name, split in splits.items():
            found = (path / f"{name}.arrow").stat().st_size if (path / f"{name}.arrow").is_file() else 0
            if found != split.bytes:
                raise UserError(
                    f"{path / name}.arrow: expected a token store of {split.bytes:,} bytes, found {found:,}; {REMEDY}"
                )
        return cls(path, tokenizers, splits, languages, fingerprint)

    def _store(self, name: str) -> Store:
        self._splits[name].check(self.path / f"{name}.arrow")
        return Store.open(self.path / f"{name}.arrow")


def splits_of(description: Mapping[str, Any]) -> dict[str, Split]:
    """The splits that a description, finished or not, names, in order."""
    rows = description["splits"]
    return {name: Split(*(rows[name][field] for field in Split._fields)) for name in SPLITS if name in rows}


def directory_fingerprint(tokenizers: Vocabularies, splits: Mapping[str, Split], languages: Languages) -> str:
    """Hash of the tokenizers, of the fingerprint of each split, and of the languages, which decide what is scored."""
    content = {name: split.fingerprint for name, split in splits.items()}
    return sha256_json({"tokenizers": tokenizers.fingerprint, "splits": content, "languages": languages._asdict()})
