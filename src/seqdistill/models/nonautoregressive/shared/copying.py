"""Copies of the source, stretched to the target's length: what a decoder reads before anything is written (Gu et al.
2018, section 3.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.nn.layers import Embedding


class CopiedSource(NamedTuple):
    """An encoded source, one row per sentence, and what copies are made of."""

    states: Float[Tensor, "rows source dim"]
    vectors: Float[Tensor, "rows source dim"]
    """Scaled word vectors without positions."""
    mask: Bool[Tensor, "rows source"]
    """False where the source is padding."""

    @property
    def lengths(self) -> Int[Tensor, " rows"]:
        """Source tokens, EOS not counted."""
        return self.mask.sum(1) - 1

    def select(self, rows: Int[Tensor, " new_rows"]) -> CopiedSource:
        """Keeps these rows in this order, repeats allowed."""
        return CopiedSource(*(field[rows] for field in self))

    def stretched(self, lengths: Int[Tensor, " rows"]) -> Float[Tensor, "rows target dim"]:
        """Word vectors of the source at `copy_positions`, without positions."""
        # (rows, target, 1) -> (rows, target, dim): `gather` wants the position once for each number of a vector.
        chosen = copy_positions(self.lengths, lengths)[..., None]
        return self.vectors.gather(1, chosen.expand(-1, -1, self.vectors.shape[2]))


def word_vectors(tokens: Int[Tensor, "rows length"], embedding: Embedding) -> Float[Tensor, "rows length dim"]:
    """Scaled word vectors without positions."""
    return F.embedding(tokens, embedding.weight) * embedding.scale


def copy_positions(source_lengths: Int[Tensor, " rows"], lengths: Int[Tensor, " rows"]) -> Int[Tensor, "rows target"]:
    """Which source position each target position i copies: round(i * (S - 1) / (T - 1)), halves rounded up.

    S and T are the lengths without EOS. A target of one token copies position 0; an empty source's EOS is copied.
    Positions past the target's end copy some position of the source.

    Three words for five places, at 0, 0.5, 1, 1.5 and 2:

        >>> copy_positions(torch.tensor([3]), torch.tensor([5])).tolist()
        [[0, 1, 1, 2, 2]]
    """
    # In whole numbers, as floating-point halves would be rounded one way here and another way there: round(a / b) is
    # floor((2a + b) / 2b).
    last_source = (source_lengths - 1).clamp(min=0)[:, None]
    last_target = (lengths - 1).clamp(min=1)[:, None]
    positions = torch.arange(int(lengths.max()), device=lengths.device)
    return torch.minimum((2 * positions * last_source + last_target) // (2 * last_target), last_source)
