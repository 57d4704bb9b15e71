"""The vocabularies of both sides: written to a directory, read back, or taken from someone else's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import read_json, sha256, write_json, written_beside
from seqdistill.vocabulary import huggingface, marian
from seqdistill.vocabulary.folder import listing
from seqdistill.vocabulary.huggingface import HuggingFace
from seqdistill.vocabulary.marian import Marian
from seqdistill.vocabulary.sentencepiece import Kind, SentencePiece
from seqdistill.vocabulary.vocabulary import Vocabulary

DESCRIPTION = "seqdistill.json"
"""A name that no other program's folder has."""

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
            if read_json(directory / DESCRIPTION).get("fingerprint") == self.fingerprint:
                return
            raise UserError(f"{directory}: holds another tokenizer already; give another directory, or remove this one")
        same = self.source is self.target
        sides = {"joint": self.source} if same else {"source": self.source, "target": self.target}
        for side, vocabulary in sides.items():
            for name, content in vocabulary.files(side).items():
                with written_beside(directory / name) as beside:
                    beside.write_bytes(content)
        described = {side: {"kind": each.kind, "settings": each.settings} for side, each in sides.items()}
        write_json(directory / DESCRIPTION, {"sides": described, "joint": self.joint, "fingerprint": self.fingerprint})

    @classmethod
    def load(cls, directory: Path) -> Vocabularies:
        """Reads what `save` wrote.

        Raises:
            UserError: a file is missing, cut or altered, or of an earlier edition.
        """
        path = directory / DESCRIPTION
        if not path.exists():
            raise UserError(
                f"{directory}: expected {DESCRIPTION} and the files it names, found {listing(directory)}: not copied "
                "whole, or of an earlier edition; prepare the data again"
            )
        description = read_json(path)
        try:
            sides = {side: _read(directory, side, row) for side, row in description["sides"].items()}
            joint, wanted = bool(description["joint"]), description["fingerprint"]
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{path}: describes no tokenizer; prepare the data again") from None
        if sides.keys() not in ({"joint"}, {"source", "target"}):
            raise UserError(f"{path}: expected joint, or source and target; found {[*sides]}")
        loaded = cls(sides.get("joint") or sides["source"], sides.get("joint") or sides["target"], joint)
        if loaded.fingerprint != wanted:
            raise UserError(
                f"{directory}: the tokenizer's files are not those that {DESCRIPTION} describes (fingerprint "
                f"{wanted[:12]} expected, {loaded.fingerprint[:12]} found): a file was altered; copy it again"
            )
        return loaded


def train_vocabularies(
    pairs: Iterable[tuple[str, str]],
    *,
    vocab_size: int,
    kind: Kind = "bpe",
    joint: bool = True,
    lowercase: bool = False,
    max_sentences: int = 1_000_000,
) -> Vocabularies:
    """Trains one tokenizer on both sides, or one on each; `pairs` is iterated once (joint) or twice.

    Raises:
        UserError: as `SentencePiece.train`.
    """

    def train(sentences: Iterator[str]) -> SentencePiece:
        return SentencePiece.train(
            sentences, vocab_size=vocab_size, kind=kind, lowercase=lowercase, max_sentences=max_sentences
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
        f"({', '.join(marian.FILES)}) or a folder with {huggingface.FILE}; found: {listing(directory)}"
    )


def _read(directory: Path, side: str, row: Mapping[str, Any]) -> Vocabulary:
    if row["kind"] not in KINDS:
        raise UserError(f"{directory / DESCRIPTION}: unknown kind {row['kind']!r}; there are {', '.join(KINDS)}")
    try:
        return KINDS[row["kind"]](directory, side, row["settings"])
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename}: no such file, but {DESCRIPTION} beside it names it; copy the whole folder"
        ) from None
    except UserError as error:
        raise UserError(f"{directory}, {side}: {error}") from None
