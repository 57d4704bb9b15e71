"""Vocabularies of Marian models as the Hugging Face hub has them: a SentencePiece model a side, one table of ids.

A folder holds `source.spm`, `target.spm` and `vocab.json` (piece -> id; `</s>` 0, `<unk>` 1, `<pad>` last). A decoder
starts with PAD. Models that write several languages want the code of one, such as `>>fra<<`, in front of the source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from seqdistill.errors import UserError
from seqdistill.files import parse_json, sha256
from seqdistill.vocabulary.folder import language_code, listing, special_symbols
from seqdistill.vocabulary.ids import SpecialIds
from seqdistill.vocabulary.vocabulary import altered

TABLE = "vocab.json"
FILES = ("source.spm", "target.spm", TABLE)


class Marian:
    """One side. A piece that the table does not have becomes UNK."""

    kind = "marian"
    lowercase = False

    def __init__(self, model: bytes, table: bytes, *, ids: SpecialIds, prefix: Sequence[int] = ()) -> None:
        """Args:
            model: a serialized SentencePiece model.
            table: the JSON of `vocab.json`.
            prefix: ids put in front of every text.

        Raises:
            UserError: one of them is cut or altered.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            self._table = pieces_of(table)
        except RuntimeError:
            raise UserError("not a whole SentencePiece model: the file was cut or altered; copy it again") from None
        self._pieces = sorted(self._table, key=self._table.__getitem__)
        self._files = model, table
        self.ids, self.prefix = ids, tuple(prefix)
        self._invisible = {*ids.never_written, ids.eos} - {ids.unk}
        self.fingerprint = sha256(model + table + json.dumps(self.settings).encode())

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"ids": self.ids._asdict(), "prefix": self.prefix}

    def files(self, side: str) -> Mapping[str, bytes]:
        return {f"{side}.spm": self._files[0], TABLE: self._files[1]}

    @classmethod
    def read(cls, directory: Path, side: str, settings: Mapping[str, Any]) -> Marian:
        """What `files` and `settings` describe."""
        model, table = ((directory / name).read_bytes() for name in (f"{side}.spm", TABLE))
        return cls(model, table, ids=SpecialIds.of(settings["ids"]), prefix=settings["prefix"])

    def __len__(self) -> int:
        return len(self._pieces)

    def piece(self, token: int) -> str:
        return self._pieces[token]

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        number, unk = self._table.get, self.ids.unk
        assert unk is not None, "Marian's tables have <unk>"
        cut = self._processor.encode(list(texts), out_type=str)
        return [[*self.prefix, *(number(piece, unk) for piece in pieces)] if pieces else [] for pieces in cut]

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_batch([ids])[0]

    def decode_batch(self, rows: Iterable[Iterable[int]]) -> list[str]:
        cut = [[self._pieces[i] for i in map(int, row) if i not in self._invisible] for row in rows]
        return [self._processor.decode_pieces(pieces).replace("▁", " ").strip() for pieces in cut]

    def altered(self, texts: Sequence[str], rows: Sequence[Sequence[int]]) -> int:
        return altered(self, texts, rows)

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (*self._files, self.ids, self.prefix)


def take(directory: Path, *, source_language: str = "", target_language: str = "") -> tuple[Marian, Marian]:
    """Source and target of such a folder; with a target language, its code stands in front of every source.

    Raises:
        UserError: a file is missing, cut or altered; a language that the vocabulary has no code for.
    """
    if missing := [name for name in FILES if not (directory / name).is_file()]:
        raise UserError(
            f"{directory}: expected {', '.join(FILES)}, the vocabulary of a Marian model, but {', '.join(missing)} is "
            f"missing (found: {listing(directory)}); copy the whole folder"
        )
    if source_language:
        raise UserError(
            f"{directory}: a Marian vocabulary has codes of target languages only, but {source_language!r} is given as "
            "the language of sources: leave it out"
        )
    table = (directory / TABLE).read_bytes()
    vocabulary = pieces_of(table, where=directory / TABLE)
    ids = _ids(vocabulary, directory)
    prefix = [language_code(vocabulary, target_language, where=directory / TABLE)] if target_language else []
    source, target = ((directory / name).read_bytes() for name in FILES[:2])
    try:
        return Marian(source, table, ids=ids, prefix=prefix), Marian(target, table, ids=ids)
    except UserError as error:
        raise UserError(f"{directory}: {error}") from None


def pieces_of(table: bytes, *, where: Path | str = TABLE) -> dict[str, int]:
    """Piece -> id.

    Raises:
        UserError: not such a table, or not one with the ids 0, 1, 2, ...
    """
    found = parse_json(table, where=where, remedy="the file was cut or altered; copy it again")
    if not isinstance(found, dict) or sorted(map(str, found.values())) != sorted(map(str, range(len(found)))):
        raise UserError(f"{where}: expected pieces with the ids 0, 1, 2, ..., each once; copy the file again")
    return found


def _ids(vocabulary: Mapping[str, int], directory: Path) -> SpecialIds:
    usual = {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
    found = {role: vocabulary[text] for role, text in usual.items() if text in vocabulary}
    found |= special_symbols(directory, vocabulary)
    if missing := {"eos", "unk", "pad"} - found.keys():
        raise UserError(
            f"{directory / TABLE}: expected </s>, <unk> and <pad> among the pieces, but found no {', '.join(missing)}; "
            "copy the folder again"
        )
    codes = {token for piece, token in vocabulary.items() if piece.startswith(">>") and piece.endswith("<<")}
    return SpecialIds(
        pad=found["pad"],
        eos=found["eos"],
        decoder_start=found.get("decoder_start", found["pad"]),
        unk=found["unk"],
        never_written=tuple(sorted({found["pad"], found["unk"], *codes} - {found["eos"]})),
    )


def _restored(model: bytes, table: bytes, ids: SpecialIds, prefix: Sequence[int]) -> Marian:
    """Pickled vocabularies come back through here."""
    return Marian(model, table, ids=ids, prefix=prefix)
