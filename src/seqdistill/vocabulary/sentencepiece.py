"""Our own vocabularies: SentencePiece models with five special ids at fixed places."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from seqdistill.errors import UserError
from seqdistill.files import sha256
from seqdistill.vocabulary.ids import OURS

PAD, UNK, BOS, EOS, MASK = 0, 1, 2, 3, 4

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
"""Piece of each special id; all but `<unk>` are control symbols: text that spells them is ordinary text."""

_INVISIBLE = frozenset((PAD, BOS, EOS, MASK))

Kind = Literal["bpe", "unigram"]
Normalization = Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"]


class SentencePiece:
    """Text to subword ids and back.

    Decoding what was encoded gives the text back, as the normaliser left it: `nmt_nfkc` folds compatibility characters
    and runs of white space, `identity` changes nothing. A character not seen in training becomes UNK and reads " ⁇ ".
    With `lowercase`, text goes through `str.lower()` first, so that "ß" stays "ß" and "İ" becomes two characters.
    """

    kind = "sentencepiece"
    ids = OURS

    def __init__(self, model: bytes, *, lowercase: bool) -> None:
        """`model`: a serialized SentencePiece model.

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
        self.fingerprint = sha256(model + (b"\0lowercase" if lowercase else b"\0cased"))

    @classmethod
    def train(
        cls,
        sentences: Iterable[str],
        *,
        vocab_size: int,
        kind: Kind = "bpe",
        lowercase: bool = False,
        normalization: Normalization = "nmt_nfkc",
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
        lower = (sentence.lower() for sentence in sentences) if lowercase else iter(sentences)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(_drawn(lower, max_sentences)),
                model_writer=writer,
                vocab_size=vocab_size,
                model_type=kind,
                normalization_rule_name=normalization,
                remove_extra_whitespaces=normalization != "identity",
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
        return cls(writer.getvalue(), lowercase=lowercase)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `read` needs beside the model, and its size for a reader."""
        return {"lowercase": self.lowercase, "vocab_size": len(self)}

    def files(self, side: str) -> Mapping[str, bytes]:
        """The model, under the name of its side."""
        return {f"{side}.model": self.model}

    @classmethod
    def read(cls, directory: Path, side: str, settings: Mapping[str, Any]) -> SentencePiece:
        """What `files` and `settings` describe."""
        return cls((directory / f"{side}.model").read_bytes(), lowercase=bool(settings["lowercase"]))

    def __len__(self) -> int:
        """Number of ids, special ones included."""
        return len(self._processor)

    def encode(self, text: str) -> list[int]:
        """Subword ids of a text, without BOS and EOS."""
        return self._processor.encode(text.lower() if self.lowercase else text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Subword ids of many texts."""
        return self._processor.encode([text.lower() for text in texts] if self.lowercase else list(texts))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of subword ids; PAD, BOS, EOS and MASK leave no trace, UNK reads " ⁇ "."""
        return self._processor.decode([i for i in map(int, ids) if i not in _INVISIBLE])

    def decode_batch(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """Texts of many rows of subword ids."""
        kept = [[i for i in map(int, ids) if i not in _INVISIBLE] for ids in rows]
        return self._processor.decode(kept) if kept else []  # of no rows it would make one text

    def piece(self, token: int) -> str:
        """The piece of one id; "▁" stands for a space."""
        return self._processor.id_to_piece(token)

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.model, self.lowercase)


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


def _restored(model: bytes, lowercase: bool) -> SentencePiece:
    """Pickled tokenizers come back through here."""
    return SentencePiece(model, lowercase=lowercase)


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
            f"take {int(required[1]):,}; give a larger vocabulary size, or a character coverage below 1"
        )
    if "sentences_.empty()" in message or "all_chars_count" in message:
        return "there is no text to train a tokenizer on: every sentence is empty, or filtered away"
    return f"SentencePiece could not train a vocabulary of {vocab_size:,}: {message}"
