"""Sentences in the making: what models that write in parallel read them from and do with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.nn.losses import CHUNK_ELEMENTS
from seqdistill.text.tokenizer import BOS, EOS, MASK, PAD


class EncodedSource(NamedTuple):
    """An encoded source, one row per sentence."""

    states: Float[Tensor, "rows source dim"]
    real: Bool[Tensor, "rows source"]
    """False where the source is padding."""

    def select(self, rows: Int[Tensor, " new_rows"]) -> EncodedSource:
        """Keeps these rows in this order, repeats allowed."""
        return EncodedSource(self.states[rows], self.real[rows])


def words_of(target: Int[Tensor, "rows target"]) -> Int[Tensor, "rows words"]:
    """The targets of a batch without the EOS they end with."""
    return target[:, :-1].masked_fill(target[:, :-1] == EOS, PAD)


def trimmed(words: Int[Tensor, "rows length"]) -> Int[Tensor, "rows longest"]:
    """The same without columns of padding, so that what is drawn for each column does not depend on padding."""
    return words[:, : int((words != PAD).sum(1).max())]


def most_probable(
    states: Float[Tensor, "places dim"], weight: Float[Tensor, "vocab dim"]
) -> tuple[Int[Tensor, " places"], Float[Tensor, " places"]]:
    """The best word at each place and its log-probability, given that no special symbol but UNK is written.

    Logits are states times weights, transposed; those of a chunk of places are in memory at a time.
    """
    rows = max(1, CHUNK_ELEMENTS.get(states.device.type, CHUNK_ELEMENTS["cuda"]) // len(weight))
    words, log_probs = [], []
    for chunk in states.split(rows):
        logits = F.linear(chunk, weight)
        logits[:, [PAD, BOS, EOS, MASK]] = -torch.inf
        best = logits.max(1)
        words.append(best.indices)
        log_probs.append(best.values - logits.logsumexp(1))
    return torch.cat(words), torch.cat(log_probs)
