"""The sizes that all Transformer-like models have, and how the plain values of a user or a file become a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seqdistill.errors import UserError, nearest

MOST = {"layers": 1000, "experts": 1000, "iterations": 1000, "vocab": 10_000_000, "updates": 10**9}
"""Largest whole numbers of a config, by the last word of their names."""
MOST_ELSEWHERE = 1_000_000
"""Of all other numbers, such as widths."""


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of encoder and decoder.

    Raises:
        UserError: a value out of range, or values that do not fit each other.
    """

    source_vocab: int
    target_vocab: int
    dim: int = 256
    """Width of embeddings and layers."""
    ffn_dim: int = 1024
    """Width inside the feed-forward layers."""
    encoder_layers: int = 3
    decoder_layers: int = 3
    heads: int = 4
    dropout: float = 0.1
    """On embeddings, on what a sublayer adds and inside feed-forward layers; not on attention weights (as fairseq)."""
    tied: bool = True
    """One embedding for source, target and output; needs a joint vocabulary. Otherwise output and target share one."""
    norm_first: bool = True
    """Normalise what a sublayer reads (trains without care) or, as in the paper, what comes out of it (False)."""

    def __post_init__(self) -> None:
        for name in ("source_vocab", "target_vocab", "dim", "ffn_dim", "encoder_layers", "decoder_layers", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.dim % self.heads or self.dim % 2:
            raise UserError(f"dim must be even and divisible by heads, but dim is {self.dim} and heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, but is {self.dropout}")
        if self.tied and self.source_vocab != self.target_vocab:
            raise UserError(
                f"tied embeddings need one vocabulary, but the source has {self.source_vocab} tokens and the target "
                f"{self.target_vocab}: prepare the data with a joint vocabulary, or set tied=false"
            )


def config_of(config_class: type, values: Mapping[str, Any], *, where: str) -> Any:
    """A config from plain values, each checked against the type of its field.

    Args:
        where: what the error messages begin with.

    Raises:
        UserError: an unknown or missing field, or a value of another type or out of range.
    """
    types = get_type_hints(config_class)
    for key, value in values.items():
        if key not in types:
            raise UserError(f"{where}: unknown option {key!r}; {nearest(key, types)}")
        if not _fits(value, types[key]):
            raise UserError(f"{where}: {key} must be {_described(types[key])}, but is {value!r}")
        most = MOST.get(key.rpartition("_")[2], MOST_ELSEWHERE) if types[key] is int else MOST_ELSEWHERE
        if types[key] in (int, float) and not -most <= value <= most:  # also of NaN
            raise UserError(f"{where}: {key} must be a number up to {most:,}, but is {value}")
    required = {each.name for each in fields(config_class) if each.default is MISSING}
    if missing := required - values.keys():
        raise UserError(f"{where}: {', '.join(sorted(missing))} missing")
    return config_class(**values)


def _fits(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    # Not isinstance: True would pass for the whole number 1.
    return type(value) is wanted


def _described(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, get_args(wanted)))}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[wanted]
