"""An engine that is told, for each line, how its output begins and which pieces it may be made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Guided:
    """An engine whose outputs keep the rules of a guide; those of a line are found by its number."""

    def __init__(self, engine: Engine, guide: Guide):
        """Raises UserError for an engine, or a model in it, that does not keep them."""
        for name, given in guide._asdict().items():
            if given and _RULES[name] not in engine.traits.rules:
                raise UserError(
                    f"{_RULES[name]}: the engine {engine.fingerprint['engine']} does not keep them for this model: "
                    "leave them out, or decode an autoregressive model with --engine torch"
                )
        self.engine, self.guide = cast(GuidedEngine, engine), guide

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
            prefixes=[prefix] * len(sources) if prefix else _of("prefixes", prefixes, numbers),
            allowed=_of("allowed", allowed, numbers),
        )


_RULES = {"prefix": "prefixes", "prefixes": "prefixes", "allowed": "allowed"}
"""Field of `Guide` -> the rule that an engine must keep for it (`EngineTraits.rules`)."""


def _of(name: str, given: Sequence[Sequence[int]], numbers: Sequence[int]) -> Sequence[Sequence[int]]:
    if given and (last := max(numbers, default=0)) >= len(given):
        raise UserError(
            f"{name}: {len(given):,} lines are given, but line {last + 1:,} is decoded; give a line for each"
        )
    return [given[number] for number in numbers] if given else ()


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
    texts = enumerate(read_lines(prefix_file), 1) if prefix_file else ()
    return Guide(
        spelled(prefix, tokenizer, where=f"prefix {prefix!r}"),
        [spelled(text, tokenizer, where=f"{prefix_file}, line {line}") for line, text in texts],
        _allowed(tokenizer, allowed_file) if allowed_file else [],
    )


def spelled(text: str, tokenizer: Vocabulary, *, where: str) -> list[int]:
    """Token ids of a text.

    Raises:
        UserError: the vocabulary cannot spell it.
    """
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


def _allowed(tokenizer: Vocabulary, path: Path) -> list[list[int]]:
    ids, rows = {tokenizer.piece(token): token for token in range(len(tokenizer))}, []
    for line, text in enumerate(read_lines(path), 1):
        if unknown := next((piece for piece in text.split() if piece not in ids), None):
            raise UserError(
                f"{path}, line {line}: {unknown!r} is no piece of the model's target vocabulary; give pieces, such as "
                f"{tokenizer.piece(len(tokenizer) - 1)!r}, with spaces between them"
            )
        rows.append([ids[piece] for piece in text.split()])
    return rows
