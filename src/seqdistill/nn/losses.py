"""Losses as a sum and a count; only the training loop divides."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Loss(NamedTuple):
    """A loss summed over labels, and how many labels were summed."""

    total: Float[Tensor, ""]
    """Sum in nats; carries the gradient."""
    count: int
    """Number of labels in the sum."""
