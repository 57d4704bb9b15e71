"""Our own vocabularies: SentencePiece models with five special ids at fixed places."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from seqdistill.errors import UserError, nearest
from seqdistill.files import sha256
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.normalization import NORMALIZATIONS, Normalization, normalizer

PAD, UNK, BOS, EOS, MASK = 0, 1, 2, 3, 4

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
"""Piece of each special id; all but `<unk>` are control symbols: text that spells them is ordinary text."""

_INVISIBLE = frozenset((PAD, BOS, EOS, MASK))

# Two characters have a meaning of their own in SentencePiece: ▁ stands for a blank, ▅ for something internal. In text
# they are ordinary, so they go through it as two of the characters that Unicode keeps for such uses of a program.
_RESERVED = (("\u2581", "\ufdd0"), ("\u2585", "\ufdd1"))

Kind = Literal["bpe", "unigram"]


class SentencePiece:
    """Text to subword ids and back.

    Decoding what was encoded gives the text back, as the normalisation left it (see `normalization.NORMALIZATIONS`)
    and without blanks at its ends. A character not seen in training becomes UNK and reads " ⁇ ". With `lowercase`, text
    goes through `str.lower()` first, so that "ß" stays "ß" and "İ" becomes two characters.
    """

    kind = "sentencepiece"
    ids = OURS

    def __init__(self, model: bytes, *, lowercase: bool, normalization: Normalization) -> None:
        """`model`: a serialized SentencePiece model, which itself normalises nothing.

        Raises:
            UserError: the bytes are no such model, or its special symbols are not where ours are.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            found = tuple(self._processor.id_to_piece(i) for i in range(min(len(self._processor), 5)))
        except RuntimeError:
            raise UserError(
                "not a whole SentencePiece model: the file was cut or altered; copy it again, or prepare the data again"
            ) from None
        if found != SPECIAL_PIECES:
            raise UserError(
                f"a tokenizer's first pieces must be {', '.join(SPECIAL_PIECES)}, but this SentencePiece model has "
                f"{', '.join(found)}: train the tokenizer again with prepare"
            )
        self.model = model
        self.lowercase = lowercase
        self.normalization = normalization
        self._normalize = normalizer(normalization)
        case = b"\0lowercase" if lowercase else b"\0cased"
        self.fingerprint = sha256(model + case + b"\0" + normalization.encode())

    @classmethod
    def train(
        cls,
        sentences: Iterable[str],
        *,
        vocab_size: int,
        kind: Kind = "bpe",
        lowercase: bool = False,
        normalization: Normalization = "identity",
        character_coverage: float = 1.0,
        max_sentences: int = 1_000_000,
        threads: int = 4,
    ) -> SentencePiece:
        """Learns `vocab_size` pieces, special symbols included; the same sentences and options give the same bytes.

        BPE is Sennrich et al. 2016, unigram Kudo 2018, both as in SentencePiece. For a joint tokenizer give the
        sentences of both sides. `max_sentences`: from more sentences than this, so many are drawn evenly with a fixed
        seed (SentencePiece's own draw differs from process to process). `threads` changes the last digits of a unigram
        model's scores, so it is a constant, not the machine's number of cores.

        Raises:
            UserError: the vocabulary is too large or too small for the text, or there is no text.
        """
        writer = io.BytesIO()
        normalized = (_as_read(sentence, lowercase, normalizer(normalization)) for sentence in sentences)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(_drawn(normalized, max_sentences)),
                model_writer=writer,
                vocab_size=vocab_size,
                model_type=kind,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                character_coverage=character_coverage,
                input_sentence_size=0,
                shuffle_input_sentence=False,
                max_sentence_length=1 << 20,
                num_threads=threads,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece=SPECIAL_PIECES[PAD],
                control_symbols=[SPECIAL_PIECES[MASK]],
                minloglevel=2,
            )
        except RuntimeError as error:
            raise UserError(_explain(str(error), vocab_size)) from None
        return cls(writer.getvalue(), lowercase=lowercase, normalization=normalization)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `read` needs beside the model, and its size for a reader."""
        return {"lowercase": self.lowercase, "normalization": self.normalization, "vocab_size": len(self)}

    def files(self, side: str) -> Mapping[str, bytes]:
        """The model, under the name of its side."""
        return {f"{side}.model": self.model}

    @classmethod
    def read(cls, directory: Path, side: str, settings: Mapping[str, Any]) -> SentencePiece:
        """What `files` and `settings` describe."""
        if (normalization := settings["normalization"]) not in NORMALIZATIONS:
            raise UserError(f"unknown normalization {normalization!r}; {nearest(str(normalization), NORMALIZATIONS)}")
        model = (directory / f"{side}.model").read_bytes()
        return cls(model, lowercase=bool(settings["lowercase"]), normalization=normalization)

    def __len__(self) -> int:
        """Number of ids, special ones included."""
        return len(self._processor)

    def encode(self, text: str) -> list[int]:
        """Subword ids of a text, without BOS and EOS."""
        return self._processor.encode(self._read(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Subword ids of many texts."""
        if len(texts) == 1:  # the library starts threads for a list, which takes ten times as long as a sentence
            return [self.encode(texts[0])]
        return self._processor.encode([self._read(text) for text in texts])

    def decode(self, ids: Iterable[int]) -> str:
        """Text of subword ids; PAD, BOS, EOS and MASK leave no trace, UNK reads " ⁇ "."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """Texts of many rows of subword ids."""
        kept = [[i for i in map(int, ids) if i not in _INVISIBLE] for ids in rows]
        if len(kept) == 1:  # as in `encode_batch`
            return [_unescaped(self._processor.decode(kept[0]) if kept[0] else "")]
        texts = self._processor.decode(kept) if kept else []  # of no rows it would make one text
        return [_unescaped(text) for text in texts]

    def altered(self, texts: Sequence[str], rows: Sequence[Sequence[int]]) -> int:
        """How many of these texts, encoded as `rows`, decoding does not give back, but for case and blanks at ends."""
        return sum(
            UNK in row or self._normalize(text) != text
            for text, row in zip((text.strip() for text in texts), rows, strict=True)
        )

    def _read(self, text: str) -> str:
        return _as_read(text, self.lowercase, self._normalize)

    def piece(self, token: int) -> str:
        """The piece of one id; "▁" stands for a space."""
        return self._processor.id_to_piece(token)

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.model, self.lowercase, self.normalization)


def _drawn(sentences: Iterable[str], number: int) -> list[str]:
    """All sentences, or `number` of more, each with the same chance (reservoir sampling: Vitter 1985, algorithm R)."""
    stream = iter(sentences)
    drawn = list(islice(stream, number))
    chance = random.Random(1).random
    for index, sentence in enumerate(stream, number + 1):
        place = int(chance() * index)
        if place < number:
            drawn[place] = sentence
    return drawn


def _as_read(text: str, lowercase: bool, normalize: Callable[[str], str]) -> str:
    """A text as the SentencePiece model gets it."""
    text = normalize(text.strip().lower() if lowercase else text.strip())
    for character, substitute in _RESERVED:
        text = text.replace(character, substitute)
    return text


def _unescaped(text: str) -> str:
    for character, substitute in _RESERVED:
        text = text.replace(substitute, character)
    return text


def _restored(model: bytes, lowercase: bool, normalization: Normalization) -> SentencePiece:
    """Pickled tokenizers come back through here."""
    return SentencePiece(model, lowercase=lowercase, normalization=normalization)


def _explain(message: str, vocab_size: int) -> str:
    """A SentencePiece error in the user's terms."""
    if largest := re.search(r"value <= (\d+)", message):
        return (
            f"a vocabulary of {vocab_size:,} is too large for this text: the largest possible is "
            f"{int(largest[1]):,}; give a vocabulary size of at most that, or more text"
        )
    if required := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return (
            f"a vocabulary of {vocab_size:,} is too small for this text: its characters and the special symbols alone "
            f"take {int(required[1]):,}; give a larger vocabulary size (--vocab-size), or leave rare "
            "characters out with a --character-coverage below 1, such as 0.9995"
        )
    if "sentences_.empty()" in message or "all_chars_count" in message:
        return "there is no text to train a tokenizer on: every sentence is empty, or filtered away"
    return f"SentencePiece could not train a vocabulary of {vocab_size:,}: {message}"
