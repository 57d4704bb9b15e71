"""How an exported model is decoded: `options.DecodingOptions` without pydantic, which takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from seqdistill.errors import LineError, UserError, nearest

SPARE_TOKENS = 10
"""Tokens every output may have beyond `max_ratio` times its source."""


class Search(NamedTuple):
    """The options that the compiled engine has, with the names, ranges and defaults of `DecodingOptions` (a test
    compares them), where each is described."""

    beam: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    max_length: int = 256
    max_ratio: float = 3.0
    no_repeat_ngram: int = 0
    min_length: int = 0
    iterations: int | None = None
    penalty: float = 0.0

    def changed(self, options: Mapping[str, Any]) -> Search:
        """With other values in some places.

        Raises:
            UserError: an unknown name, a value of another type or out of range, or values that do not fit each other.
        """
        for name, value in options.items():
            if name not in RANGES:
                raise UserError(f"{name!r} is no option of an exported model; {nearest(name, RANGES)}")
            kinds, low, high = RANGES[name]
            if name == "iterations" and value is None:
                continue
            number: Any = value
            if not isinstance(value, kinds) or isinstance(value, bool) or not low <= number <= high:
                raise UserError(f"{name}: expected a number from {low:g} to {high:g}, found {value!r}")
        found = self._replace(**options)
        if found.n_best > found.beam:
            raise UserError(f"n_best {found.n_best} is more than beam {found.beam}: widen the beam or ask for fewer")
        if found.min_length >= found.max_length:
            raise UserError(
                f"min_length {found.min_length} leaves no room under max_length {found.max_length}, in which EOS "
                "counts: lower it, or raise max_length"
            )
        return found


_WHOLE, _REAL = (int,), (int, float)
RANGES: dict[str, tuple[tuple[type, ...], float, float]] = {
    "beam": (_WHOLE, 1, 1000),
    "n_best": (_WHOLE, 1, 1000),
    "length_penalty": (_REAL, -10, 10),
    "max_length": (_WHOLE, 1, 1_000_000),
    "max_ratio": (_REAL, 1e-300, 1000),
    "no_repeat_ngram": (_WHOLE, 0, 1_000_000),
    "min_length": (_WHOLE, 0, 1_000_000),
    "iterations": (_WHOLE, 1, 1000),
    "penalty": (_REAL, -100, 100),
}
"""Type, least and largest value of each."""


@runtime_checkable
class Limits(Protocol):
    """Options that say how long an output may be."""

    @property
    def max_length(self) -> int: ...

    @property
    def max_ratio(self) -> float: ...


def length_limit(source_tokens: int, options: Limits) -> int:
    """Most tokens, EOS included, of the output for a source of `source_tokens` tokens (EOS not counted)."""
    return min(options.max_length, int(options.max_ratio * source_tokens) + SPARE_TOKENS)


def check_lengths(
    sources: Sequence[Sequence[int]], line_numbers: Sequence[int], *, most: int, reader: str, way_out: str
) -> None:
    """Raises LineError for the first source of more than `most` tokens.

    Args:
        line_numbers: from 0; empty: 0, 1, ...
        reader: who reads no more, as a message says it.
        way_out: what to do about it, after a colon.
    """
    if max(map(len, sources), default=0) <= most:
        return
    row = next(row for row, source in enumerate(sources) if len(source) > most)
    line = line_numbers[row] if line_numbers else row
    raise LineError(
        line, f"line {line + 1:,} has {len(sources[row]):,} tokens; {reader} reads at most {most:,}: {way_out}"
    )
