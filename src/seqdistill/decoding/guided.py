"""An engine that is told, for each line, how its output begins and which pieces it may be made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from seqdistill.decoding.engine import Engine, EngineTraits, GuidedEngine
from seqdistill.errors import LineError, UserError
from seqdistill.files import sha256_json
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.spelling import each_spelled, pieces_allowed, spelled
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
            LineError: a line beyond those that the guide knows.
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
        if given and max(numbers, default=0) >= len(given):
            line = min(number for number in numbers if number >= len(given))
            count = f"has {len(given):,} lines, but line {line + 1:,} is decoded"
            raise LineError(line, f"{self.names[field]}: {count}; give a line for each")
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
        each_spelled(_lines(prefix_file), tokenizer, where=str(prefix_file)) if prefix_file else [],
        pieces_allowed(_lines(allowed_file), tokenizer, where=str(allowed_file)) if allowed_file else [],
    )


def _lines(path: Path) -> Iterable[str]:
    from seqdistill.text.lines import read_lines  # imports pyarrow, which most calls do not need

    return read_lines(path)
