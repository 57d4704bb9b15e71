"""The vocabularies of both sides: written to a directory, read back, or taken from someone else's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import sha256, written_beside
from seqdistill.seals import check_listing, listing, read_sealed, write_sealed
from seqdistill.vocabulary import folder, huggingface, marian
from seqdistill.vocabulary.huggingface import HuggingFace
from seqdistill.vocabulary.marian import Marian
from seqdistill.vocabulary.normalization import Normalization
from seqdistill.vocabulary.sentencepiece import Kind, SentencePiece
from seqdistill.vocabulary.vocabulary import Vocabulary

DESCRIPTION = "seqdistill.json"
"""A name that no other program's folder has."""
REMEDY = "copy the whole folder again, or prepare the data again"

Read = Callable[[Path, str, Mapping[str, Any]], Vocabulary]

KINDS: dict[str, Read] = {
    "sentencepiece": SentencePiece.read,
    "marian": Marian.read,
    "huggingface": HuggingFace.read,
}
"""Kind -> what reads a side of it: from a directory, the side's name, and its settings."""


class Vocabularies(NamedTuple):
    """The vocabularies of both sides; joint if an id means the same piece on either side."""

    source: Vocabulary
    target: Vocabulary
    joint: bool

    @property
    def fingerprint(self) -> str:
        """Hash of both, and of being joint."""
        return sha256(f"{self.source.fingerprint} {self.target.fingerprint} {self.joint}")

    def save(self, directory: Path) -> None:
        """Writes the files of both sides, and at last `seqdistill.json`.

        Raises:
            UserError: the directory holds another vocabulary.
        """
        if (directory / DESCRIPTION).exists():
            if read_sealed(directory / DESCRIPTION, remedy=REMEDY).get("fingerprint") == self.fingerprint:
                return
            raise UserError(f"{directory}: holds another tokenizer already; give another directory, or remove this one")
        same = self.source is self.target
        sides = {"joint": self.source} if same else {"source": self.source, "target": self.target}
        files = {name: content for side, each in sides.items() for name, content in each.files(side).items()}
        for name, content in files.items():
            with written_beside(directory / name) as beside:
                beside.write_bytes(content)
        described = {side: {"kind": each.kind, "settings": each.settings} for side, each in sides.items()}
        whole = {"sides": described, "joint": self.joint, "fingerprint": self.fingerprint}
        write_sealed(directory / DESCRIPTION, whole | {"files": listing(directory, files)})

    @classmethod
    def load(cls, directory: Path) -> Vocabularies:
        """Reads what `save` wrote.

        Raises:
            UserError: a file is missing, cut or altered, or of an earlier edition.
        """
        path = directory / DESCRIPTION
        if not path.exists():
            raise UserError(
                f"{directory}: expected {DESCRIPTION} and the files it names, found {folder.listing(directory)}: not "
                "copied whole, or of an earlier edition; prepare the data again"
            )
        description = read_sealed(path, remedy=REMEDY)
        check_listing(directory, description["files"], remedy=REMEDY)
        sides = {side: _read(directory, side, row) for side, row in description["sides"].items()}
        source, target = (sides.get("joint") or sides[side] for side in ("source", "target"))
        return cls(source, target, description["joint"])


def train_vocabularies(
    pairs: Iterable[tuple[str, str]],
    *,
    vocab_size: int,
    kind: Kind = "bpe",
    joint: bool = True,
    lowercase: bool = False,
    normalization: Normalization = "identity",
    character_coverage: float = 1.0,
    max_sentences: int = 1_000_000,
) -> Vocabularies:
    """Trains one tokenizer on both sides, or one on each; `pairs` is iterated once (joint) or twice.

    Raises:
        UserError: as `SentencePiece.train`.
    """

    def train(sentences: Iterator[str]) -> SentencePiece:
        return SentencePiece.train(
            sentences,
            vocab_size=vocab_size,
            kind=kind,
            lowercase=lowercase,
            normalization=normalization,
            character_coverage=character_coverage,
            max_sentences=max_sentences,
        )

    if joint:
        both = train(text for pair in pairs for text in pair)
        return Vocabularies(both, both, True)
    return Vocabularies(train(pair[0] for pair in pairs), train(pair[1] for pair in pairs), False)


def taken_from(directory: Path, *, source_language: str = "", target_language: str = "") -> Vocabularies:
    """The vocabularies of a data directory of ours, or of a folder with files of a Marian or a Hugging Face tokenizer.

    Args:
        source_language, target_language: whose codes a vocabulary of many languages puts in front; see
            `folder.language_code`.

    Raises:
        UserError: the directory holds something else, or a part of it only; a language that has no code there.
    """
    languages = {"source_language": source_language, "target_language": target_language}
    if (directory / "tokenizer").is_dir():
        if named := source_language or target_language:
            raise UserError(f"{directory}: is a data directory, whose languages are settled; leave out {named!r}")
        return Vocabularies.load(directory / "tokenizer")
    if (directory / "source.spm").is_file() or (directory / "target.spm").is_file():
        return Vocabularies(*marian.take(directory, **languages), joint=True)
    if (directory / huggingface.FILE).is_file():
        return Vocabularies(*huggingface.take(directory, **languages), joint=True)
    raise UserError(
        f"{directory}: holds no tokenizer: expected a data directory with tokenizer/, a Marian folder "
        f"({', '.join(marian.FILES)}) or a folder with {huggingface.FILE}; found: {folder.listing(directory)}"
    )


def _read(directory: Path, side: str, row: Mapping[str, Any]) -> Vocabulary:
    try:
        return KINDS[row["kind"]](directory, side, row["settings"])
    except UserError as error:
        raise UserError(f"{directory}, {side}: {error}") from None
