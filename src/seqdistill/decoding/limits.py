"""What every decoder obeys: symbols that are never written, how long an output may become, leaving when done."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.vocabulary.sentencepiece import BOS, MASK, PAD, UNK

NEVER_WRITTEN = (PAD, UNK, BOS, MASK)
"""Ids no decoder and no engine writes. UNK is among them because it is no word (it reads "⁇"). Log-probabilities are
those of the model given that none of them is written: normalised over the other ids, as in CTranslate2."""

SPARE_TOKENS = 10
"""Tokens every output may have beyond `max_ratio` times its source."""


def length_limit(source_tokens: int, options: DecodingOptions) -> int:
    """Most tokens, EOS included, of the output for a source of `source_tokens` tokens (EOS not counted)."""
    return min(options.max_length, int(options.max_ratio * source_tokens) + SPARE_TOKENS)


def length_limits(source: Int[Tensor, "batch source"], options: DecodingOptions) -> Int[Tensor, " batch"]:
    """`length_limit` of each row; sources end with EOS and are padded with PAD."""
    counts = (source != PAD).sum(1) - 1
    return torch.tensor([length_limit(count, options) for count in counts.tolist()], device=source.device)


def forbid(log_probs: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows 1"]:
    """Sets the columns of NEVER_WRITTEN to minus infinity, in place: what `step` returns belongs to the decoder.

    Returns:
        The log of the probability left to the other ids: to be subtracted from the log-probability of what is chosen.
    """
    ids = torch.tensor(NEVER_WRITTEN, device=log_probs.device)
    forbidden = log_probs.index_select(1, ids).exp().sum(1, keepdim=True)
    log_probs.index_fill_(1, ids, -torch.inf)
    return torch.log1p(-forbidden.clamp(max=1 - 1e-6))


def remaining(finished: Bool[Tensor, " rows"]) -> Int[Tensor, " kept"]:
    """The rows that are not finished, in an order that moves few: each gap is filled with a row from the end."""
    going = ~finished
    count = int(going.sum())
    order = torch.arange(count, device=finished.device)
    order[finished[:count]] = going[count:].nonzero().squeeze(1) + count
    return order
