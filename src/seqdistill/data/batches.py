"""From the token store to padded tensors: batches by token budget, bucketed by length, shuffled, split by rank."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Batch(NamedTuple):
    """Sentence pairs, right-padded with PAD. Both sides end with EOS and hold no BOS."""

    source: Int[Tensor, "batch source"]
    target: Int[Tensor, "batch target"]
    index: Int[Tensor, "batch"]
    """Line number of each pair in the store, 0-based."""
    num_labels: int
    """Number of target tokens, EOS included, padding excluded."""
