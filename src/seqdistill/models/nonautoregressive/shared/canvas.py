"""Sentences in the making: what non-autoregressive models read them from and do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.models.interface import Canvas
from seqdistill.nn.losses import exact, rows_at_a_time
from seqdistill.vocabulary.ids import SpecialIds


class EncodedSource(NamedTuple):
    """An encoded source, one row per sentence."""

    states: Float[Tensor, "rows source dim"]
    mask: Bool[Tensor, "rows source"]
    """False where the source is padding."""

    def select(self, rows: Int[Tensor, " new_rows"]) -> EncodedSource:
        """Keeps these rows in this order, repeats allowed."""
        return EncodedSource(self.states[rows], self.mask[rows])


def words_of(target: Int[Tensor, "rows target"], ids: SpecialIds) -> Int[Tensor, "rows longest"]:
    """The targets of a batch without the EOS they end with.

    Also without columns of padding, so that what is drawn for each column does not depend on padding.
    """
    # Rows end with EOS, so the last column holds nothing but EOS and padding.
    words = target[:, :-1].masked_fill(target[:, :-1] == ids.eos, ids.pad)
    return words[:, : int((words != ids.pad).sum(1).max())]


def masks(lengths: Int[Tensor, " rows"], ids: SpecialIds) -> Int[Tensor, "rows length"]:
    """Tokens of a canvas of these lengths with nothing written yet."""
    positions = torch.arange(int(lengths.max()), device=lengths.device)
    return torch.where(positions < lengths[:, None], ids.placeholder, ids.pad)


def most_probable(
    states: Float[Tensor, "places dim"], weight: Float[Tensor, "vocab dim"], *, forbidden: Sequence[int]
) -> tuple[Int[Tensor, " places"], Float[Tensor, " places"]]:
    """The best word at each place and its log-probability, given that it is none of the forbidden ones.

    Logits are states times weights, transposed; those of a chunk of places are in memory at a time.
    """
    words, log_probs = [], []
    for chunk in states.split(rows_at_a_time(weight)):
        logits = exact(F.linear(chunk, weight))
        # Before the sum over the vocabulary: probabilities are those of the words that may be written.
        logits[:, list(forbidden)] = -torch.inf
        best = logits.max(1)
        words.append(best.indices)
        log_probs.append(best.values - logits.logsumexp(1))
    return torch.cat(words), torch.cat(log_probs)


def rewritten(
    canvas: Canvas,
    places: Bool[Tensor, "rows length"],
    states: Float[Tensor, "rows length dim"],
    weight: Float[Tensor, "vocab dim"],
    ids: SpecialIds,
) -> Canvas:
    """The most probable word at each of the places, what it was elsewhere; one decoder run more for rows with such
    places."""
    words, log_probs = most_probable(states[places], weight, forbidden=ids.no_words)
    return canvas._replace(
        tokens=canvas.tokens.masked_scatter(places, words),
        log_probs=canvas.log_probs.masked_scatter(places, log_probs.to(canvas.log_probs.dtype)),
        passes=canvas.passes + places.any(1),
    )
