"""A Transformer decoder whose attention to what is written is a recurrent layer: one small step a token.

The architecture of Marian's submissions on speed (Kim et al. 2019; Bogoychev et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqdistill.nn.attention import CrossAttention
from seqdistill.nn.dropout import dropout
from seqdistill.nn.layers import FeedForward, Residual
from seqdistill.nn.recurrent import RecurrentLayer

KeyValue = tuple[Float[Tensor, "groups heads source head_dim"], Float[Tensor, "groups heads source head_dim"]]


class RecurrentDecoderLayer(nn.Module):
    """A recurrent layer in place of self-attention; then, where it `attends`, cross-attention and feed-forward."""

    def __init__(
        self,
        cell: Callable[[int, int], nn.Module],
        dim: int,
        ffn_dim: int,
        heads: int,
        rate: float,
        *,
        attends: bool,
        norm_first: bool,
    ) -> None:
        super().__init__()
        self.recurrence = cell(dim, dim)
        self.around_recurrence = Residual(dim, rate, norm_first=norm_first)
        self.attends = attends
        if attends:
            self.cross_attention = CrossAttention(dim, heads)
            self.around_cross = Residual(dim, rate, norm_first=norm_first)
            self.feed_forward = FeedForward(dim, ffn_dim, rate)
            self.around_feed_forward = Residual(dim, rate, norm_first=norm_first)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        memory: Float[Tensor, "batch source dim"],
        memory_visible: Bool[Tensor, "batch 1 1 source"],
    ) -> Float[Tensor, "batch length dim"]:
        """All positions of a target; the state begins at zero. Right padding is read last, so nothing sees it."""
        read = self.around_recurrence.before(x).transpose(0, 1)  # recurrent layers are time-major
        hidden, _ = cast(RecurrentLayer, self.recurrence)(read)
        x = self.around_recurrence.after(x, hidden.transpose(0, 1))
        if not self.attends:
            return x
        asked = self.around_cross.before(x)
        x = self.around_cross.after(x, self.cross_attention(asked, memory, memory_visible))
        return self.around_feed_forward.around(x, self.feed_forward)

    def step(
        self,
        x: Float[Tensor, "rows dim"],
        state: Float[Tensor, "rows states dim"],
        key_value: KeyValue | None,
        memory_visible: Bool[Tensor, "groups 1 1 source"],
    ) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, "rows states dim"]]:
        """One position of every row; `key_value` is of the memory, of a layer that attends, a row a group."""
        hidden, state = cast(RecurrentLayer, self.recurrence).step(self.around_recurrence.before(x), state)
        x = self.around_recurrence.after(x, hidden)
        if key_value is None:
            return x, state
        # Rows of a group translate one sentence: they are the queries of one read of its memory, which is not copied.
        groups = len(memory_visible)
        asked = self.around_cross.before(x).unflatten(0, (groups, -1))
        change = self.cross_attention.read(asked, *key_value, memory_visible)
        x = self.around_cross.after(x, change.flatten(0, 1))
        return self.around_feed_forward.around(x, self.feed_forward), state


class RecurrentDecoder(nn.Module):
    """A stack of such layers; `attention` says which attend: every one, or the last alone (once)."""

    def __init__(
        self,
        cell: Callable[[int, int], nn.Module],
        layers: int,
        dim: int,
        ffn_dim: int,
        heads: int,
        rate: float,
        *,
        attention: Literal["every", "once"],
        norm_first: bool,
    ) -> None:
        super().__init__()
        self.dropout = rate
        sizes = (dim, ffn_dim, heads, rate)
        self.layers = nn.ModuleList(
            RecurrentDecoderLayer(
                cell, *sizes, attends=attention == "every" or number == layers - 1, norm_first=norm_first
            )
            for number in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        memory: Float[Tensor, "batch source dim"],
        memory_mask: Bool[Tensor, "batch source"],
    ) -> Float[Tensor, "batch length dim"]:
        """States of every position; `memory_mask` is False at padding."""
        x = dropout(x, self.dropout, training=self.training)
        for layer in self.layers:
            x = layer(x, memory, memory_mask[:, None, None])
        return self.norm(x)

    def project(self, memory: Float[Tensor, "batch source dim"]) -> list[KeyValue | None]:
        """Key and value of the memory for each layer that attends, computed once a sentence."""
        layers = cast(Sequence[RecurrentDecoderLayer], self.layers)
        return [layer.cross_attention.project(memory) if layer.attends else None for layer in layers]

    def initial(self, like: Float[Tensor, "rows source dim"]) -> Float[Tensor, "layers rows states dim"]:
        """The state before the first token: zeros, as many of a row as a cell carries."""
        states = cast(RecurrentLayer, cast(RecurrentDecoderLayer, self.layers[0]).recurrence).states
        return like.new_zeros(len(self.layers), len(like), states, like.shape[2])

    def step(
        self,
        x: Float[Tensor, "rows dim"],
        cells: Float[Tensor, "layers rows states dim"],
        stored: list[KeyValue | None],
        memory_visible: Bool[Tensor, "groups 1 1 source"],
    ) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, "layers rows states dim"]]:
        """The next position of every row, normalised, and the state after it."""
        after = []
        for layer, cell, key_value in zip(self.layers, cells, stored, strict=True):
            x, cell = cast(RecurrentDecoderLayer, layer).step(x, cell, key_value, memory_visible)
            after.append(cell)
        return self.norm(x), torch.stack(after)
