"""What a softmax over the vocabulary says at many places, with the logits of a chunk of them in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqdistill.nn.losses import CHUNK_ELEMENTS


def most_probable(
    states: Float[Tensor, "places dim"], weight: Float[Tensor, "vocab dim"], *, forbidden: Sequence[int]
) -> tuple[Int[Tensor, " places"], Float[Tensor, " places"]]:
    """The best id at each place under softmax(states weight'), and its log-probability given that it is none of the
    forbidden ones."""
    ids, log_probs = [], []
    for chunk in states.split(_rows(weight)):
        logits = F.linear(chunk, weight)
        logits[:, list(forbidden)] = -torch.inf
        best = logits.max(1)
        ids.append(best.indices)
        log_probs.append(best.values - logits.logsumexp(1))
    return torch.cat(ids), torch.cat(log_probs)


def log_probs_of(
    states: Float[Tensor, "places dim"], weight: Float[Tensor, "vocab dim"], ids: Int[Tensor, " places"]
) -> Float[Tensor, " places"]:
    """The log-probability of one id at each place under softmax(states weight')."""
    found = []
    for chunk, chosen in zip(states.split(_rows(weight)), ids.split(_rows(weight)), strict=True):
        logits = F.linear(chunk, weight)
        found.append(logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(1))
    return torch.cat(found)


def _rows(weight: Tensor) -> int:
    """Places of a chunk."""
    return max(1, CHUNK_ELEMENTS.get(weight.device.type, CHUNK_ELEMENTS["cuda"]) // len(weight))
