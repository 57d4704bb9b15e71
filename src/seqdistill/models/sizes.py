"""What the sizes of every Transformer-like model must fulfil."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from seqdistill.errors import UserError


@runtime_checkable
class Sizes(Protocol):
    """A config with the sizes that all of them have."""

    @property
    def source_vocab(self) -> int: ...
    @property
    def target_vocab(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def tied(self) -> bool: ...


def check_sizes(config: Sizes) -> None:
    """Raises UserError for a value out of range, or for values that do not fit each other."""
    for name in ("source_vocab", "target_vocab", "dim", "ffn_dim", "encoder_layers", "decoder_layers", "heads"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} must be 1 or more, but is {getattr(config, name)}")
    if config.dim % config.heads or config.dim % 2:
        raise UserError(f"dim must be even and divisible by heads, but dim is {config.dim} and heads {config.heads}")
    if not 0 <= config.dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, but is {config.dropout}")
    if config.tied and config.source_vocab != config.target_vocab:
        raise UserError(
            f"tied embeddings need one vocabulary, but the source has {config.source_vocab} tokens and the target "
            f"{config.target_vocab}: prepare the data with a joint vocabulary, or set tied=false"
        )
