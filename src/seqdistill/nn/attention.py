"""Multi-head attention (Vaswani et al. 2017, section 3.2), over whole sequences and one step at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqdistill.nn.cache import CacheRows, KeyValueCache

Heads = Float[Tensor, "rows heads length head_dim"]


def split_heads(x: Float[Tensor, "rows length dim"], heads: int) -> Heads:
    """Cuts each vector into `heads` parts; a view."""
    # (rows, length, dim) -> (rows, length, heads, head_dim) -> (rows, heads, length, head_dim)
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Heads) -> Float[Tensor, "rows length dim"]:
    """The inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


def attend(
    query: Float[Tensor, "rows heads queries head_dim"],
    key: Float[Tensor, "rows heads length head_dim"],
    value: Float[Tensor, "rows heads length head_dim"],
    visible: Tensor | None,
    *,
    causal: bool = False,
) -> Float[Tensor, "rows heads queries head_dim"]:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1); `visible` is a mask, or what is added to scores.

    Under autocast on a CPU it is trained in float32: torch's backward pass in bfloat16 takes six times as long as that
    in float32, forward passes take the same (docs/log.md).
    """
    # A mask of (batch, 1, 1, length) is stretched over heads and queries: what is padding is so for all of them.
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or not query.requires_grad:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=visible, is_causal=causal
        )


class SelfAttention(nn.Module):
    """Attention of a sequence to itself; query, key and value come from one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        # Three matrices that lie in one: each is drawn by its own fan-in and fan-out, not by those of the whole.
        # The gain is that of fairseq.
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
        return self.output(merge_heads(attend(query, key, value, visible, causal=causal)))

    def step(
        self,
        x: Float[Tensor, "groups group dim"],
        cache: KeyValueCache,
        cache_rows: CacheRows,
    ) -> Float[Tensor, "groups group dim"]:
        """The next position of every row looks at itself and at what its row sees in the cache."""
        query, key, value = (split_heads(part, self.heads) for part in self.query_key_value(x).chunk(3, dim=-1))
        # The rows of a group stand where `forward` has positions: (groups, heads, group, head_dim). They are queries
        # that read one cache, and the mask of (groups, 1, group, cache_rows) tells which of its rows are whose.
        stored = cache.append(key, value, cache_rows.used)
        return self.output(merge_heads(attend(query, *stored, cache_rows.hidden)))


class CrossAttention(nn.Module):
    """Attention of one sequence to another, the memory; key and value of the memory come from one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        # One by one, with the gain of fairseq, as in `SelfAttention`.
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
        return self.output(merge_heads(attend(query, key, value, visible)))
