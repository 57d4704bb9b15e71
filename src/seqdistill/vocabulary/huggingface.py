"""Vocabularies in a `tokenizer.json` of the `tokenizers` library (extra `hf`): NLLB's, M2M-100's, BART's, GPT's, ...

Those of many languages put a code in front of the source; their decoder reads EOS and the code of the target's language
before the first word, which is forced, not written. One without PAD, as GPT's, gets an id for it after its last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import sha256
from seqdistill.vocabulary.folder import language_code, special_symbols
from seqdistill.vocabulary.ids import SpecialIds
from seqdistill.vocabulary.vocabulary import altered

FILE = "tokenizer.json"


class HuggingFace:
    """One side. Text that spells a special symbol is ordinary text."""

    kind = "huggingface"
    lowercase = False

    def __init__(self, model: bytes, *, ids: SpecialIds, prefix: Sequence[int] = ()) -> None:
        """Args:
            model: the JSON of `tokenizer.json`.
            prefix: ids put in front of every text.

        Raises:
            UserError: it is cut or altered, or the `tokenizers` library is not installed.
        """
        self._tokenizer = _tokenizer(model)
        self._model = model
        pieces = {token: piece for piece, token in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        self._known = max(pieces) + 1
        self._pieces = [pieces.get(token, f"<unused {token}>") for token in range(self._known)]
        if ids.pad == self._known:
            self._pieces.append("<pad>")
        self.ids, self.prefix = ids, tuple(prefix)
        self._invisible = {*ids.never_written, ids.eos}
        self.fingerprint = sha256(model + json.dumps(self.settings).encode())

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"ids": self.ids._asdict(), "prefix": self.prefix}

    def files(self, side: str) -> Mapping[str, bytes]:
        del side
        return {FILE: self._model}

    @classmethod
    def read(cls, directory: Path, side: str, settings: Mapping[str, Any]) -> HuggingFace:
        """What `files` and `settings` describe."""
        del side
        return cls((directory / FILE).read_bytes(), ids=SpecialIds.of(settings["ids"]), prefix=settings["prefix"])

    def __len__(self) -> int:
        return len(self._pieces)

    def piece(self, token: int) -> str:
        return self._pieces[token]

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        cut = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[*self.prefix, *found.ids] if found.ids else [] for found in cut]

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_batch([ids])[0]

    def decode_batch(self, rows: Iterable[Iterable[int]]) -> list[str]:
        return self._tokenizer.decode_batch([[i for i in map(int, row) if i not in self._invisible] for row in rows])

    def altered(self, texts: Sequence[str], rows: Sequence[Sequence[int]]) -> int:
        return altered(self, texts, rows)

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self._model, self.ids, self.prefix)


def take(directory: Path, *, source_language: str = "", target_language: str = "") -> tuple[HuggingFace, HuggingFace]:
    """Source and target of a folder with a tokenizer.json, and beside it what names the special symbols.

    Raises:
        UserError: the file is cut or altered; nothing says what ends a sentence; a language without a code.
    """
    model = (directory / FILE).read_bytes()
    try:
        vocabulary = _tokenizer(model).get_vocab(with_added_tokens=True)
    except UserError as error:
        raise UserError(f"{directory / FILE}: {error}") from None
    ids = _ids(vocabulary, directory, model)
    where = directory / FILE
    prefix = [language_code(vocabulary, source_language, where=where)] if source_language else []
    forced = ids
    if target_language:
        code = language_code(vocabulary, target_language, where=where)
        forced = ids._replace(decoder_start=code, decoder_prompt=(ids.decoder_start,))
    return HuggingFace(model, ids=ids, prefix=prefix), HuggingFace(model, ids=forced)


def _ids(vocabulary: Mapping[str, int], directory: Path, model: bytes) -> SpecialIds:
    found, size = special_symbols(directory, vocabulary), max(vocabulary.values()) + 1
    if "eos" not in found:
        raise UserError(
            f"{directory}: nothing says which symbol ends a sentence: expected eos_token in tokenizer_config.json or "
            "special_tokens_map.json, or eos_token_id in config.json, beside tokenizer.json; copy the whole folder"
        )
    eos = found["eos"]
    unk, mask, pad = (found[role] if found.get(role, eos) != eos else None for role in ("unk", "mask", "pad"))
    pad, bos = size if pad is None else pad, found.get("bos")
    added = {row["id"] for row in json.loads(model).get("added_tokens") or [] if row.get("special")}
    unused = set(range(size)) - set(vocabulary.values())
    special = {token for token in (pad, unk, mask, bos) if token is not None} | added | unused
    start = found.get("decoder_start", eos if bos is None else bos)
    if outside := [token for token in (eos, start, *special) if not 0 <= token < max(size, pad + 1)]:
        raise UserError(
            f"{directory}: config.json names the special id {outside[0]}, but tokenizer.json has {size} ids: they "
            "belong to different models; copy the whole folder"
        )
    never_written = tuple(sorted(special - {eos}))
    return SpecialIds(pad, eos, start, bos=bos, unk=unk, mask=mask, never_written=never_written)


def _tokenizer(model: bytes) -> Any:
    """The library's object, which neither pads nor cuts, and takes special symbols in text for text."""
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            f"{FILE} is read by the tokenizers library, which is not installed: pip install 'seqdistill[hf]'"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_str(model.decode())
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"no whole {FILE}: it was cut or altered, or is of another version ({error})") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _restored(model: bytes, ids: SpecialIds, prefix: Sequence[int]) -> HuggingFace:
    """Pickled vocabularies come back through here."""
    return HuggingFace(model, ids=ids, prefix=prefix)
