"""What is known of a vocabulary outside this folder: text to ids and back, special ids, identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from seqdistill.vocabulary.ids import SpecialIds


@runtime_checkable
class Vocabulary(Protocol):
    """The vocabulary of one side; its ids are 0 .. len - 1.

    Whatever it puts around text (a language code in front of a source, say) is its own business: `encode` returns what
    a model reads and a batch only adds EOS to, and what a decoder begins with is in `ids`.
    """

    kind: str
    """A name of `vocabularies.KINDS`."""
    ids: SpecialIds
    lowercase: bool
    """Whether text is lower-cased before it is cut."""
    fingerprint: str
    """Hash of all that decides ids and text."""

    def __len__(self) -> int:
        """Number of ids, special ones included."""
        ...

    def piece(self, token: int) -> str:
        """The piece of one id; no two ids have the same."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without EOS and without what a decoder begins with; of a text without words, none."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; special ids leave no trace, UNK may."""
        ...

    def decode_batch(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """Texts of many rows of ids."""
        ...

    def altered(self, texts: Sequence[str], rows: Sequence[Sequence[int]]) -> int:
        """How many of these texts, encoded as `rows`, decoding does not give back, but for case and blanks at ends."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `read` needs beside the files, as JSON."""
        ...

    def files(self, side: str) -> Mapping[str, bytes]:
        """The files it is read from again, by name, as those of `side`: source, target, or joint."""
        ...


def altered(vocabulary: Vocabulary, texts: Sequence[str], rows: Sequence[Sequence[int]]) -> int:
    """`Vocabulary.altered` for any vocabulary: decodes them."""
    case = str.lower if vocabulary.lowercase else str
    found = vocabulary.decode_batch(rows)
    return sum(text.strip() != case(before.strip()) for before, text in zip(texts, found, strict=True))


class Side(NamedTuple):
    """What a model is made for on one side."""

    ids: SpecialIds
    size: int


def side_for_model(vocabulary: Vocabulary, *, mask: bool) -> Side:
    """Ids and size of a vocabulary; with `mask`, MASK is among them, after the last id if the vocabulary has none."""
    ids, size = vocabulary.ids, len(vocabulary)
    if mask:
        ids = ids.with_mask(size)
    return Side(ids, size + (ids.mask == size))
