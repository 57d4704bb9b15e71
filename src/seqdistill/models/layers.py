"""The embeddings, encoder and decoder that all Transformer-like models have, made from their sizes."""

from __future__ import annotations

from typing import NamedTuple

from seqdistill.models.sizes import TransformerSizes
from seqdistill.nn.layers import Decoder, Embedding, Encoder


class Layers(NamedTuple):
    """A model keeps each under its own name; weights are drawn in this order."""

    source_embedding: Embedding
    target_embedding: Embedding
    """The source's, where the two are tied."""
    encoder: Encoder
    decoder: Decoder


def layers_of(config: TransformerSizes) -> Layers:
    """Fresh layers of these sizes."""
    source, target = embeddings_of(config)
    encoder = encoder_of(config)
    sizes = (config.dim, config.ffn_dim, config.heads, config.dropout)
    return Layers(source, target, encoder, Decoder(config.decoder_layers, *sizes, norm_first=config.norm_first))


def embeddings_of(config: TransformerSizes) -> tuple[Embedding, Embedding]:
    """Of source and target; one and the same where they are tied."""
    source = Embedding(config.source_vocab, config.dim)
    return source, source if config.tied else Embedding(config.target_vocab, config.dim)


def encoder_of(config: TransformerSizes) -> Encoder:
    """An encoder of these sizes."""
    sizes = (config.dim, config.ffn_dim, config.heads, config.dropout)
    return Encoder(config.encoder_layers, *sizes, norm_first=config.norm_first)
