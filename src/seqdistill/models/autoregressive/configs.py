"""Configs of the autoregressive models; here is no torch, so that a recipe is checked at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seqdistill.errors import UserError
from seqdistill.models.sizes import TransformerSizes


@dataclass(frozen=True)
class TransformerConfig(TransformerSizes):
    """Sizes of a Transformer, and the form of its output layer: scale * h W' + bias, W the target embedding."""

    output_bias: bool = False
    """As Marian's models have it (final_logits_bias)."""
    output_scale: float = 1.0
    """1 / sqrt(dim) in T5, whose embeddings are not scaled where they are read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.output_scale < math.inf:
            raise UserError(f"output_scale must be a number above 0, but is {self.output_scale}")


@dataclass(frozen=True)
class MixtureConfig(TransformerConfig):
    """Sizes of a mixture of experts: those of its Transformer, and how many experts there are."""

    experts: int = 3
    """Zhou et al. (2020), section 5, find 3 best."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.experts < 1:
            raise UserError(f"experts must be 1 or more, but is {self.experts}")


@dataclass(frozen=True)
class HybridConfig(TransformerConfig):
    """Sizes of a hybrid: those of a Transformer, whose decoder layers are recurrent."""

    encoder_layers: int = 6
    decoder_layers: int = 2
    cell: Literal["sru", "ssru", "gru", "lstm"] = "ssru"
    attention: Literal["every", "once"] = "every"
    """Which decoder layers read the source, and have a feed-forward layer: every one, or the last alone."""


@dataclass(frozen=True)
class RNNConfig:
    """Sizes of an RNN.

    Raises:
        UserError: a value out of range, or values that do not fit each other.
    """

    source_vocab: int
    target_vocab: int
    cell: Literal["sru", "ssru", "gru", "lstm"] = "sru"
    dim: int = 512
    """N: width of the decoder's states; the encoder has half of it in each direction."""
    embedding_dim: int = 256
    layers: int = 2
    """Of the encoder and of the decoder: each decoder layer starts from the final state of its encoder layer."""
    projection: int = 0
    """Width of a linear map between one layer and the next; 0: none."""
    dropout: float = 0.1
    """Of the inputs of every layer and of the attentional state; one mask shared over time."""
    highway_bias: float = 0.0
    """SRU only: what the bias of the reset gate starts from; negative lets more of a layer's input through."""
    rescale: bool = False
    """SRU only: scales the input that is let through, so that the variance stays the same from layer to layer."""
    tied: bool = False
    """Source and target share one embedding. The output layer is the target embedding in any case."""

    def __post_init__(self) -> None:
        if self.dim < 2 or self.dim % 2:
            raise UserError(f"dim is split between the encoder's two directions: it must be even, but is {self.dim}")
        if min(self.embedding_dim, self.layers, self.source_vocab, self.target_vocab) < 1 or self.projection < 0:
            raise UserError(
                "embedding_dim, layers and the vocabularies must be 1 or more and projection 0 or more; got "
                f"{self.embedding_dim}, {self.layers}, {self.source_vocab} and {self.target_vocab}, {self.projection}"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be in [0, 1), but is {self.dropout}")
        if self.cell != "sru" and (self.highway_bias or self.rescale):
            raise UserError(f"highway_bias and rescale belong to the SRU, but cell is {self.cell!r}: leave them out")
        if self.tied and self.source_vocab != self.target_vocab:
            raise UserError(
                f"tied embeddings need one vocabulary, but source has {self.source_vocab} tokens and target "
                f"{self.target_vocab}: prepare the data with a joint tokenizer, or leave tied out"
            )
