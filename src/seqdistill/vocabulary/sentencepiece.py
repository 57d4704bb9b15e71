"""Subword tokenizers: SentencePiece models with five special ids at fixed places."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import sentencepiece

from seqdistill.errors import UserError
from seqdistill.files import read_json, sha256, write_json, written_beside
from seqdistill.vocabulary.ids import OURS

PAD, UNK, BOS, EOS, MASK = 0, 1, 2, 3, 4

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
"""Piece of each special id; all but `<unk>` are control symbols: text that spells them is ordinary text."""

_INVISIBLE = frozenset((PAD, BOS, EOS, MASK))

Kind = Literal["bpe", "unigram"]
Normalization = Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"]


class Tokenizer:
    """Text to subword ids and back.

    Decoding what was encoded gives the text back, as the normaliser left it: `nmt_nfkc` folds compatibility characters
    and runs of white space, `identity` changes nothing. A character not seen in training becomes UNK and reads " ⁇ ".
    With `lowercase`, text goes through `str.lower()` first, so that "ß" stays "ß" and "İ" becomes two characters.
    """

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
                "not a whole SentencePiece model: the file was cut or altered; copy it again, or prepare the data anew"
            ) from None
        if found != SPECIAL_PIECES:
            raise UserError(
                f"a tokenizer's first pieces must be {', '.join(SPECIAL_PIECES)}, but this SentencePiece model has "
                f"{', '.join(found)}: train the tokenizer anew with prepare"
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
    ) -> Tokenizer:
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
        return self._processor.decode([[i for i in map(int, ids) if i not in _INVISIBLE] for ids in rows])

    def piece(self, token: int) -> str:
        """The piece of one id; "▁" stands for a space."""
        return self._processor.id_to_piece(token)

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.model, self.lowercase)


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; one and the same when the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer
    joint: bool

    @property
    def fingerprint(self) -> str:
        """Hash of both models, of lower-casing and of being joint."""
        return sha256(f"{self.source.fingerprint} {self.target.fingerprint} {self.joint}")

    def save(self, directory: Path) -> None:
        """Writes `joint.model`, or `source.model` and `target.model`, and at last `tokenizer.json`.

        Raises:
            UserError: the directory holds another tokenizer.
        """
        description = directory / "tokenizer.json"
        if description.exists():
            if read_json(description).get("fingerprint") == self.fingerprint:
                return
            raise UserError(f"{directory}: holds another tokenizer already; give another directory, or remove this one")
        sides = {"joint": self.source} if self.joint else {"source": self.source, "target": self.target}
        for side, tokenizer in sides.items():
            with written_beside(directory / f"{side}.model") as beside:
                beside.write_bytes(tokenizer.model)
        rows = {side: {"lowercase": each.lowercase, "vocab_size": len(each)} for side, each in sides.items()}
        write_json(description, {"models": rows, "fingerprint": self.fingerprint})

    @classmethod
    def load(cls, directory: Path) -> Tokenizers:
        """Reads what `save` wrote.

        Raises:
            UserError: a file is missing, cut or altered.
        """
        description = read_json(directory / "tokenizer.json")
        try:
            lowercase = {side: bool(row["lowercase"]) for side, row in description["models"].items()}
            wanted = description["fingerprint"]
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{directory}/tokenizer.json: describes no tokenizer; prepare the data anew") from None
        if lowercase.keys() not in ({"joint"}, {"source", "target"}):
            raise UserError(f"{directory}/tokenizer.json: expected joint, or source and target; found {[*lowercase]}")
        sides = {side: _read(directory / f"{side}.model", low) for side, low in lowercase.items()}
        joint = "joint" in sides
        loaded = cls(sides["joint"], sides["joint"], True) if joint else cls(sides["source"], sides["target"], False)
        if loaded.fingerprint != wanted:
            raise UserError(
                f"{directory}: the tokenizer's models are not those that tokenizer.json describes (fingerprint "
                f"{wanted[:12]} expected, {loaded.fingerprint[:12]} found): a file was altered; copy it anew"
            )
        return loaded


def train_tokenizers(
    pairs: Iterable[tuple[str, str]],
    *,
    vocab_size: int,
    kind: Kind = "bpe",
    joint: bool = True,
    lowercase: bool = False,
    max_sentences: int = 1_000_000,
) -> Tokenizers:
    """Trains one tokenizer on both sides, or one on each; `pairs` is iterated once (joint) or twice.

    Raises:
        UserError: as `Tokenizer.train`.
    """

    def train(sentences: Iterator[str]) -> Tokenizer:
        return Tokenizer.train(
            sentences, vocab_size=vocab_size, kind=kind, lowercase=lowercase, max_sentences=max_sentences
        )

    if joint:
        both = train(text for pair in pairs for text in pair)
        return Tokenizers(both, both, True)
    return Tokenizers(train(pair[0] for pair in pairs), train(pair[1] for pair in pairs), False)


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


def _restored(model: bytes, lowercase: bool) -> Tokenizer:
    """Pickled tokenizers come back through here."""
    return Tokenizer(model, lowercase=lowercase)


def _read(path: Path, lowercase: bool) -> Tokenizer:
    """Reads one model file."""
    try:
        return Tokenizer(path.read_bytes(), lowercase=lowercase)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, but tokenizer.json beside it names it; copy the whole folder") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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
