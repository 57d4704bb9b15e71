"""An engine that is told, for each line, how its output begins and which pieces it may be made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from seqdistill.decoding.corpus import Engine, EngineTraits, GuidedEngine, TextHypothesis
from seqdistill.errors import UserError
from seqdistill.files import sha256_json
from seqdistill.options import DecodingOptions
from seqdistill.text.lines import read_lines
from seqdistill.vocabulary.vocabulary import Vocabulary


class Guide(NamedTuple):
    """Rules for the outputs of lines, in token ids; empty: no rule."""

    prefix: Sequence[int] = ()
    """What every output begins with."""
    prefixes: Sequence[Sequence[int]] = ()
    """What each output begins with instead."""
    allowed: Sequence[Sequence[int]] = ()
    """What each output may be made of."""


OPTIONS = {"prefix": "prefix", "prefixes": "prefix_file", "allowed": "allowed_file"}
"""What is told -> the option that tells it."""


class Guided:
    """An engine whose outputs keep the rules of a guide; those of a line are found by its number."""

    def __init__(self, engine: Engine, guide: Guide, *, names: Mapping[str, str] = OPTIONS):
        """Args:
            names: what the fields of the guide are called in errors.

        Raises:
            UserError: an engine, or a model in it, that does not keep them.
        """
        for field, given in guide._asdict().items():
            if given and _RULES[field] not in engine.traits.rules:
                raise UserError(
                    f"{names[field]}: the engine {engine.fingerprint['engine']} has no such rule for this model: leave "
                    "it out, or decode an autoregressive model with --engine torch"
                )
        self.engine, self.guide, self.names = cast(GuidedEngine, engine), guide, names

    def check_lines(self, count: int) -> None:
        """Raises UserError unless something is told of each of `count` lines, and of no more."""
        for field in ("prefixes", "allowed"):
            if (given := getattr(self.guide, field)) and len(given) != count:
                raise UserError(
                    f"{self.names[field]}: has {len(given):,} lines, but {count:,} are decoded; give a line for each"
                )

    @property
    def traits(self) -> EngineTraits:
        return self.engine.traits

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {**self.engine.fingerprint, "guide": sha256_json(self.guide._asdict())}

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """As `ScoringEngine.scores`; the engine must be one."""
        return cast(Any, self.engine).scores(sources, targets)

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        """As `Engine.decode`.

        Raises:
            UserError: a line beyond those that the guide knows.
        """
        numbers = range(len(sources)) if line_numbers is None else line_numbers
        prefix, prefixes, allowed = self.guide
        return self.engine.decode(
            sources,
            options,
            line_numbers=line_numbers,
            prefixes=[prefix] * len(sources) if prefix else self._of("prefixes", prefixes, numbers),
            allowed=self._of("allowed", allowed, numbers),
        )

    def _of(self, field: str, given: Sequence[Sequence[int]], numbers: Sequence[int]) -> Sequence[Sequence[int]]:
        if given and (last := max(numbers, default=0)) >= len(given):
            raise UserError(
                f"{self.names[field]}: has {len(given):,} lines, but line {last + 1:,} is decoded; give a line for each"
            )
        return [given[number] for number in numbers] if given else ()


_RULES = {"prefix": "prefixes", "prefixes": "prefixes", "allowed": "allowed"}
"""Field of `Guide` -> the rule that an engine must keep for it (`EngineTraits.rules`)."""


def read_guide(
    tokenizer: Vocabulary, *, prefix: str = "", prefix_file: Path | None = None, allowed_file: Path | None = None
) -> Guide:
    """Reads a guide.

    Args:
        tokenizer: of the target side.
        prefix: text that every output begins with.
        prefix_file: such a text for each line; an empty one leaves its line free.
        allowed_file: for each line the pieces its output may be made of, with spaces between them.

    Raises:
        UserError: a text that the vocabulary cannot spell, or a piece that is not in it; names line and piece.
    """
    return Guide(
        spelled(prefix, tokenizer, where=f"prefix {prefix!r}"),
        each_spelled(read_lines(prefix_file), tokenizer, where=str(prefix_file)) if prefix_file else [],
        pieces_allowed(read_lines(allowed_file), tokenizer, where=str(allowed_file)) if allowed_file else [],
    )


def each_spelled(texts: Iterable[str], tokenizer: Vocabulary, *, where: str) -> list[list[int]]:
    """Token ids of what each output begins with; raises as `spelled`, with the line."""
    return [spelled(text, tokenizer, where=f"{where}, line {line}") for line, text in enumerate(texts, 1)]


def spelled(text: str, tokenizer: Vocabulary, *, where: str) -> list[int]:
    """Token ids of a text.

    Raises:
        UserError: the vocabulary cannot spell it, or it is no text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:  # of the command line, half a surrogate pair stands for a byte
        raise UserError(f"{where}: holds a byte that is not UTF-8; give text") from None
    ids, unknown = tokenizer.encode(text), tokenizer.ids.unk
    if unknown is None or unknown not in ids:
        return ids
    # For the message: the first word that cannot be spelled, and in it the first letter.
    word = next((word for word in text.split() if unknown in tokenizer.encode(word)), text)
    piece = next((letter for letter in word if unknown in tokenizer.encode(letter)), word)
    raise UserError(
        f"{where}: the vocabulary of the model's target side cannot spell {piece!r} in {word!r}; "
        "write it otherwise, or leave it out"
    )


def pieces_allowed(texts: Iterable[str], tokenizer: Vocabulary, *, where: str) -> list[list[int]]:
    """Token ids of what each output may be made of: pieces with spaces between them.

    Raises:
        UserError: a piece that the vocabulary does not have.
    """
    ids, rows = {tokenizer.piece(token): token for token in range(len(tokenizer))}, []
    for line, text in enumerate(texts, 1):
        if unknown := next((piece for piece in text.split() if piece not in ids), None):
            raise UserError(
                f"{where}, line {line}: {unknown!r} is no piece of the model's target vocabulary; give pieces, such as "
                f"{tokenizer.piece(len(tokenizer) - 1)!r}, with spaces between them"
            )
        rows.append([ids[piece] for piece in text.split()])
    return rows
