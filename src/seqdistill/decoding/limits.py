"""Limits of every decoder: how long an output may become, and how finished rows leave the batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seqdistill.native.search import length_limit
from seqdistill.options import DecodingOptions


def length_limits(
    source: Int[Tensor, "batch source"], options: DecodingOptions, *, padding: int
) -> Int[Tensor, " batch"]:
    """`length_limit` of each row; sources end with EOS and are padded with `padding`."""
    counts = (source != padding).sum(1) - 1
    return torch.tensor([length_limit(count, options) for count in counts.tolist()], device=source.device)


def remaining(finished: Bool[Tensor, " rows"]) -> Int[Tensor, " kept"]:
    """The rows that are not finished, in an order that moves few: each gap is filled with a row from the end.

    >>> remaining(torch.tensor([False, True, False, False]))
    tensor([0, 3, 2])
    """
    going = ~finished
    count = int(going.sum())
    order = torch.arange(count, device=finished.device)
    # `count` rows go on, so of the first `count` places as many are gaps as rows go on behind them.
    order[finished[:count]] = going[count:].nonzero().squeeze(1) + count
    return order
