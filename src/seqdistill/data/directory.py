"""A data directory: the token stores of a corpus and the tokenizers that encoded them.

It holds `train.arrow`, `valid.arrow` and `test.arrow` (if there is such text), `tokenizer/`, and `data.json`, which is
written last and names the fingerprint of every part, so that parts of different preparations are not taken together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seqdistill.data.store import Store
from seqdistill.errors import UserError
from seqdistill.files import read_json, sha256_json
from seqdistill.journal import check_edition
from seqdistill.vocabulary.vocabularies import Vocabularies

DESCRIPTION, UNFINISHED = "data.json", ".prepare.json"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DataDirectory:
    """A data directory opened for reading."""

    path: Path
    train: Store
    valid: Store | None
    test: Store | None
    tokenizers: Vocabularies
    fingerprint: str
    """Hash of every split and of the tokenizers."""
    num_targets: Mapping[str, int]
    """The most targets of a line, by split: above 1 where each line is as many pairs, one after the other."""

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Opens every part and checks that they belong together; reads no text, so it takes milliseconds.

        Raises:
            UserError: no or an unfinished data directory; a part is missing, cut, of another preparation, or was
                encoded with another tokenizer.
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
        description = read_json(path / DESCRIPTION)
        check_edition(description.get("record") if isinstance(description, dict) else None, path)
        try:
            recorded = {name: row["fingerprint"] for name, row in description["splits"].items()}
            num_targets = {name: int(row["num_targets"]) for name, row in description["splits"].items()}
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{path / DESCRIPTION}: describes no data directory; run seqdistill prepare again"
            ) from None
        tokenizers = Vocabularies.load(path / "tokenizer")
        stores = {name: _store(path, name, recorded[name], tokenizers) for name in SPLITS if name in recorded}
        if "train" not in stores:
            raise UserError(f"{path / DESCRIPTION}: names no training data; run seqdistill prepare again")
        valid, test = stores.get("valid"), stores.get("test")
        fingerprint = directory_fingerprint(tokenizers, recorded)
        return cls(path, stores["train"], valid, test, tokenizers, fingerprint, num_targets)

    def verify(self) -> None:
        """Reads every store against its checksums (about a second per gigabyte).

        Raises:
            UserError: the content of one was altered; names the pairs concerned.
        """
        for store in (self.train, self.valid, self.test):
            if store is not None:
                store.verify()


def directory_fingerprint(tokenizers: Vocabularies, splits: dict[str, str]) -> str:
    """Hash of the tokenizers and of the fingerprint of each split."""
    return sha256_json({"tokenizers": tokenizers.fingerprint, "splits": splits})


def _store(path: Path, name: str, fingerprint: str, tokenizers: Vocabularies) -> Store:
    store = Store.open(path / f"{name}.arrow")
    if store.tokenizers_fingerprint != tokenizers.fingerprint:
        raise UserError(
            f"{store.path}: was encoded with another tokenizer ({store.tokenizers_fingerprint[:12]}) than the one in "
            f"{path / 'tokenizer'} ({tokenizers.fingerprint[:12]}): one of them was exchanged; copy the whole folder "
            "again, or run seqdistill prepare again"
        )
    if store.fingerprint != fingerprint:
        raise UserError(
            f"{store.path}: is not the store that {DESCRIPTION} beside it describes (fingerprint {fingerprint[:12]} "
            f"expected, {store.fingerprint[:12]} found); copy the whole folder again, or run seqdistill prepare again"
        )
    return store
