"""Sentence pairs as arrays of word numbers: what the aligner and the measures read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from seqdistill.errors import UserError
from seqdistill.files import sha256
from seqdistill.measures.tokenizers import WordTokenizer, tokenised
from seqdistill.progress import Progress, Silent

MAX_CELLS = 1_000_000
"""Most combinations of a source and a target word in a pair; a longer pair, hardly a sentence, is skipped."""
_REPORTED = 1000


class Side(NamedTuple):
    """One side of all pairs.

    Args:
        words: the vocabulary in alphabetical order, so that numbers do not depend on the order of sentences.
        ids: the words of all sentences, one after the other.
        starts: where each sentence begins in `ids`, and where the last one ends.
    """

    words: tuple[str, ...]
    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " pairs_and_1"]

    def lengths(self) -> Int[np.ndarray, " pairs"]:
        """Words of each sentence."""
        return np.diff(self.starts)

    def sentence(self, pair: int) -> list[str]:
        """The words of one sentence."""
        return [self.words[word] for word in self.ids[self.starts[pair] : self.starts[pair + 1]]]

    def frequencies(self) -> Int[np.ndarray, " words"]:
        """Count of each word."""
        return np.bincount(self.ids, minlength=len(self.words))

    def chosen(self, pairs: Int[np.ndarray, " chosen"]) -> Side:
        """The side of some pairs, with only their words as vocabulary."""
        lengths = self.lengths()[pairs]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # The places of the chosen words, sentence by sentence: sentences of 2 and 1 words at 5 and 10 have new starts 0
        # and 2, and 5 5 8 + 0 1 2 = 5 6 10.
        tokens = np.repeat(self.starts[pairs] - starts[:-1], lengths) + np.arange(starts[-1])
        used, ids = np.unique(self.ids[tokens], return_inverse=True)
        return Side(tuple(self.words[word] for word in used), ids.astype(np.int32), starts)


class Skipped(NamedTuple):
    """Lines that hold no sentence pair, by reason."""

    blank: int
    """No word on either side."""
    one_sided: int
    """Words on one side only."""
    too_long: int
    """More than MAX_CELLS combinations of words."""


@dataclass(frozen=True)
class Bitext:
    """The sentence pairs of a corpus, tokenised and numbered.

    Args:
        lines: the line, from 1, at which each pair stands in the corpus; skipped lines leave gaps.
        num_lines: of the corpus, skipped ones included.
        signature: how both sides were tokenised.
    """

    name: str
    source: Side
    target: Side
    lines: Int[np.ndarray, " pairs"]
    num_lines: int
    skipped: Skipped
    signature: str

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.lines)

    @property
    def fingerprint(self) -> str:
        """Hash of the words of all pairs and of the lines they stand at."""
        parts = [self.lines.tobytes()]
        for side in (self.source, self.target):
            parts += ["\n".join(side.words).encode(), side.ids.tobytes(), side.starts.tobytes()]
        return sha256("".join(sha256(part) for part in parts))

    def chosen(self, pairs: Int[np.ndarray, " chosen"]) -> Bitext:
        """Some of the pairs, by their numbers in ascending order; lines keep their numbers."""
        sides = self.source.chosen(pairs), self.target.chosen(pairs)
        return Bitext(self.name, *sides, self.lines[pairs], self.num_lines, self.skipped, self.signature)


def read_bitext(
    pairs: Iterable[tuple[str, str]],
    source_tokenizer: WordTokenizer,
    target_tokenizer: WordTokenizer,
    *,
    name: str,
    workers: int = 1,
    progress: Progress | None = None,
) -> Bitext:
    """Tokenises a corpus; lines without words on both sides are skipped and counted, never aligned.

    Args:
        workers: processes that tokenise, of a long corpus; the result is the same for any number.

    Raises:
        UserError: no line has words on both sides.
    """
    progress = progress or Silent()
    sides = _Numbering(), _Numbering()
    lines, counts = array("q"), {"blank": 0, "one_sided": 0, "too_long": 0}
    number = 0
    progress.start(f"tokenising {name}", total=None, unit="lines")
    tokenizers = source_tokenizer, target_tokenizer
    for number, words in enumerate(tokenised(pairs, tokenizers, workers=workers), start=1):
        if reason := _reason_to_skip(*words):
            counts[reason] += 1
        else:
            lines.append(number)
            for side, found in zip(sides, words, strict=True):
                side.add(found)
        if number % _REPORTED == 0:
            progress.advance(_REPORTED)
    progress.advance(number % _REPORTED)
    progress.finish()
    if not lines:
        raise UserError(
            f"{name}: none of its {number:,} lines has words on both sides; expected at least one sentence pair: check "
            "that both files are the right ones"
        )
    signature = f"source:{source_tokenizer.signature}|target:{target_tokenizer.signature}"
    source_side, target_side = (side.finished() for side in sides)
    return Bitext(name, source_side, target_side, np.array(lines, dtype=np.int64), number, Skipped(**counts), signature)


def _reason_to_skip(source: Sequence[str], target: Sequence[str]) -> str | None:
    if not source or not target:
        return "one_sided" if source or target else "blank"
    return "too_long" if len(source) * len(target) > MAX_CELLS else None


class _Numbering:
    """Grows a side sentence by sentence, at 4 bytes a word."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids = array("i")
        self._starts = array("q", [0])

    def add(self, words: Sequence[str]) -> None:
        numbers = self._numbers
        # A new word gets the next number.
        self._ids.extend([numbers.setdefault(word, len(numbers)) for word in words])
        self._starts.append(len(self._ids))

    def finished(self) -> Side:
        # Numbers were given in the order of first sight; `rank` maps them to places in the alphabet.
        words = sorted(self._numbers)
        rank = np.empty(len(words), dtype=np.int32)
        rank[[self._numbers[word] for word in words]] = np.arange(len(words), dtype=np.int32)
        return Side(
            tuple(words), rank[np.frombuffer(self._ids, dtype=np.int32)], np.array(self._starts, dtype=np.int64)
        )
