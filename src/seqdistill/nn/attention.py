"""Multi-head attention (Vaswani et al. 2017, section 3.2), over whole sequences and one step at a time."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Heads = Float[Tensor, "rows heads length head_dim"]
Cached = Float[Tensor, "rows heads cached head_dim"]


def split_heads(x: Float[Tensor, "rows length dim"], heads: int) -> Heads:
    """Cuts each vector into `heads` parts; a view."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Heads) -> Float[Tensor, "rows length dim"]:
    """The inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Attention of a sequence to itself; query, key and value come from one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        for part in self.query_key_value.weight.chunk(3):
            nn.init.xavier_uniform_(part, gain=2**-0.5)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        visible: Bool[Tensor, "batch 1 1 length"] | None,
        *,
        causal: bool,
    ) -> Float[Tensor, "batch length dim"]:
        """Every position looks at the visible ones (None: all), and no later one where `causal`."""
        query, key, value = (split_heads(part, self.heads) for part in self.query_key_value(x).chunk(3, dim=-1))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=causal)
        return self.output(merge_heads(read))

    def step(self, x: Float[Tensor, "rows 1 dim"], cache: KeyValueCache) -> Float[Tensor, "rows 1 dim"]:
        """The next position of every row looks at itself and at all before it, which `cache` holds."""
        query, key, value = (split_heads(part, self.heads) for part in self.query_key_value(x).chunk(3, dim=-1))
        read = F.scaled_dot_product_attention(query, *cache.append(key, value))
        return self.output(merge_heads(read))


class KeyValueCache:
    """Keys and values of the positions written so far; room for more is made by doubling."""

    def __init__(self, key: Heads | None = None, value: Heads | None = None, length: int = 0) -> None:
        self.key, self.value, self.length = key, value, length

    def append(self, key: Heads, value: Heads) -> tuple[Cached, Cached]:
        """Writes one position; returns all so far, as views."""
        self.key, self.value = self._with_room(self.key, key), self._with_room(self.value, value)
        self.key[:, :, self.length], self.value[:, :, self.length] = key[:, :, 0], value[:, :, 0]
        self.length += 1
        return self.key[:, :, : self.length], self.value[:, :, : self.length]

    def select(self, rows: Int[Tensor, " new_rows"]) -> KeyValueCache:
        """A cache of these rows in this order."""
        if self.key is None or self.value is None:
            return KeyValueCache()
        return KeyValueCache(self.key[rows], self.value[rows], self.length)

    def _with_room(self, stored: Tensor | None, new: Heads) -> Cached:
        if stored is not None and stored.shape[2] > self.length:
            return stored
        rows, heads, _, head_dim = new.shape
        grown = new.new_empty(rows, heads, max(16, 2 * self.length), head_dim)
        if stored is not None:
            grown[:, :, : self.length] = stored
        return grown


class CrossAttention(nn.Module):
    """Attention of one sequence to another, the memory; key and value of the memory come from one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        for part in (self.query.weight, *self.key_value.weight.chunk(2)):
            nn.init.xavier_uniform_(part, gain=2**-0.5)
        nn.init.xavier_uniform_(self.output.weight)
        for bias in (self.query.bias, self.key_value.bias, self.output.bias):
            nn.init.zeros_(bias)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        memory: Float[Tensor, "batch source dim"],
        visible: Bool[Tensor, "batch 1 1 source"] | None,
    ) -> Float[Tensor, "batch length dim"]:
        """Every position of `x` looks at the visible positions (None: all) of `memory`."""
        return self.read(x, *self.project(memory), visible)

    def project(self, memory: Float[Tensor, "batch source dim"]) -> tuple[Heads, Heads]:
        """Key and value of the memory, computed once a sentence."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def read(
        self,
        x: Float[Tensor, "batch length dim"],
        key: Float[Tensor, "batch heads source head_dim"],
        value: Float[Tensor, "batch heads source head_dim"],
        visible: Bool[Tensor, "batch 1 1 source"] | None,
    ) -> Float[Tensor, "batch length dim"]:
        """Attends to a memory given as key and value."""
        query = split_heads(self.query(x), self.heads)
        return self.output(merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=visible)))
