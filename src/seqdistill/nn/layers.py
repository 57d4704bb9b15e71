"""The blocks of the Transformer (Vaswani et al. 2017, section 3): positions, feed-forward, encoder and decoder."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.nn.attention import CrossAttention, SelfAttention
from seqdistill.nn.cache import CacheRows, KeyValueCache
from seqdistill.nn.dropout import add_dropped, dropout, relu_dropped


def sinusoids(length: int, dim: int) -> Float[Tensor, "length dim"]:
    """Position encodings: sines of falling frequency in the first half of the vector, cosines in the second.

    Vaswani et al. (2017), section 3.5, with sines and cosines side by side instead of interleaved, as tensor2tensor and
    fairseq have them; the two differ by a permutation of the dimensions.
    """
    half = dim // 2
    # frequency_i = 10000^(-i / (half - 1)), from 1 down to 1/10000.
    frequency = torch.exp(torch.arange(half) * (-math.log(10_000) / max(half - 1, 1)))
    angle = torch.arange(length)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Embedding(nn.Module):
    """Word vectors times sqrt(dim), plus sinusoidal positions; there is no longest sentence."""

    positions: Tensor

    def __init__(self, vocab: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab, dim))
        self.scale = math.sqrt(dim)
        self.register_buffer("positions", sinusoids(256, dim), persistent=False)
        # Times `scale`, the numbers of a word vector have variance 1. As an output layer the same matrix gives logits
        # of variance 1, from states that a LayerNorm has made.
        nn.init.normal_(self.weight, std=dim**-0.5)

    def forward(
        self, tokens: Int[Tensor, "batch length"], start: int = 0, *, first: Float[Tensor, "batch dim"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Vectors of tokens whose first column stands at position `start`; `first` in place of that column's words."""
        vectors = F.embedding(tokens, self.weight)
        if first is not None:
            vectors = torch.cat([first[:, None], vectors[:, 1:]], 1)
        return vectors * self.scale + self.positions_to(start + tokens.shape[1])[start:]

    def positions_to(self, length: int) -> Float[Tensor, "length dim"]:
        """Encodings of positions 0 .. length-1; the table doubles when it is too short."""
        if length > len(self.positions):
            # Computed, never learned, and left out of the checkpoint: a longer table is the old one continued.
            self.positions = sinusoids(2 * length, self.weight.shape[1]).to(self.positions)
        return self.positions[:length]


class FeedForward(nn.Module):
    """max(0, x W1 + b1) W2 + b2 (Vaswani et al. 2017, equation 2), with dropout on the hidden layer."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, dim)
        self.dropout = dropout
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        hidden = self.inner(x.flatten(0, -2))  # in rows: a product of more dimensions is a view, slow to write over
        return self.outer(relu_dropped(hidden, self.dropout, training=self.training)).view_as(x)


class Residual(nn.Module):
    """Around a sublayer: x + dropout(sublayer(norm(x))) if `norm_first`, else norm(x + dropout(sublayer(x)))."""

    def __init__(self, dim: int, dropout: float, *, norm_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.dropout = dropout
        self.norm_first = norm_first

    def before(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """The sublayer's input."""
        return self.norm(x) if self.norm_first else x

    def after(self, x: Float[Tensor, "*rows dim"], change: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """The input and the sublayer's output, joined."""
        x = add_dropped(x, change, self.dropout, training=self.training)
        return x if self.norm_first else self.norm(x)

    def around(
        self,
        x: Float[Tensor, "*rows dim"],
        sublayer: Callable[[Float[Tensor, "*rows dim"]], Float[Tensor, "*rows dim"]],
    ) -> Float[Tensor, "*rows dim"]:
        """The sublayer with its norm, dropout and residual connection."""
        return self.after(x, sublayer(self.before(x)))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, dropout: float, *, norm_first: bool) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, heads)
        self.around_self = Residual(dim, dropout, norm_first=norm_first)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)
        self.around_feed_forward = Residual(dim, dropout, norm_first=norm_first)

    def forward(
        self, x: Float[Tensor, "batch length dim"], visible: Bool[Tensor, "batch 1 1 length"] | None
    ) -> Float[Tensor, "batch length dim"]:
        x = self.around_self.after(x, self.self_attention(self.around_self.before(x), visible, causal=False))
        return self.around_feed_forward.around(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoded source, then feed-forward."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, dropout: float, *, norm_first: bool) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, heads)
        self.around_self = Residual(dim, dropout, norm_first=norm_first)
        self.cross_attention = CrossAttention(dim, heads)
        self.around_cross = Residual(dim, dropout, norm_first=norm_first)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)
        self.around_feed_forward = Residual(dim, dropout, norm_first=norm_first)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        visible: Bool[Tensor, "batch 1 1 length"] | None,
        memory: Float[Tensor, "batch source dim"],
        memory_visible: Bool[Tensor, "batch 1 1 source"] | None,
        *,
        causal: bool,
    ) -> Float[Tensor, "batch length dim"]:
        x = self.around_self.after(x, self.self_attention(self.around_self.before(x), visible, causal=causal))
        x = self.around_cross.after(x, self.cross_attention(self.around_cross.before(x), memory, memory_visible))
        return self.around_feed_forward.around(x, self.feed_forward)

    def step(
        self,
        x: Float[Tensor, "groups group dim"],
        cache: KeyValueCache,
        cache_rows: CacheRows,
        memory_key: Float[Tensor, "groups heads source head_dim"],
        memory_value: Float[Tensor, "groups heads source head_dim"],
        memory_visible: Bool[Tensor, "groups 1 1 source"],
    ) -> Float[Tensor, "groups group dim"]:
        """One position of every row; the rows of a group read the same memory."""
        x = self.around_self.after(x, self.self_attention.step(self.around_self.before(x), cache, cache_rows))
        asked = self.around_cross.before(x)
        x = self.around_cross.after(x, self.cross_attention.read(asked, memory_key, memory_value, memory_visible))
        return self.around_feed_forward.around(x, self.feed_forward)


class Encoder(nn.Module):
    """A stack of encoder layers over embedded tokens."""

    def __init__(self, layers: int, dim: int, ffn_dim: int, heads: int, dropout: float, *, norm_first: bool) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            EncoderLayer(dim, ffn_dim, heads, dropout, norm_first=norm_first) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch length dim"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length dim"]:
        """States of every position; `mask` is False at padding, whose states mean nothing."""
        x = dropout(x, self.dropout, training=self.training)
        for layer in self.layers:
            # (batch, length) -> (batch, 1, 1, length): for all heads and all queries alike.
            x = layer(x, mask[:, None, None])
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder layers: left to right where `causal`, otherwise all positions see each other."""

    def __init__(self, layers: int, dim: int, ffn_dim: int, heads: int, dropout: float, *, norm_first: bool) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            DecoderLayer(dim, ffn_dim, heads, dropout, norm_first=norm_first) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
        memory: Float[Tensor, "batch source dim"],
        memory_mask: Bool[Tensor, "batch source"],
        *,
        causal: bool,
    ) -> Float[Tensor, "batch length dim"]:
        """States of every position; `mask` and `memory_mask` are False at padding, which must stand at the right."""
        x = dropout(x, self.dropout, training=self.training)
        visible = None if causal else mask[:, None, None]  # right padding lies in the future of every real token
        for layer in self.layers:
            x = layer(x, visible, memory, memory_mask[:, None, None], causal=causal)
        return self.norm(x)
