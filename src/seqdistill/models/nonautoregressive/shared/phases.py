"""Which phase the training of a model with latent variables is in, told by the model itself (Ma et al. 2019, 3.6)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Phases(nn.Module):
    """Counts updates in a buffer, so that a checkpoint brings the phase back; nothing else remembers it.

    In the first `autoencoder_updates` the KL divergence has no weight; then it rises evenly to 1 over `kl_updates`.
    """

    updates: Tensor
    """Updates begun."""

    def __init__(self, autoencoder_updates: int, kl_updates: int) -> None:
        super().__init__()
        self.autoencoder_updates = autoencoder_updates
        self.kl_updates = kl_updates
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._begun = False

    @property
    def kl_weight(self) -> float:
        """In the update that began last; 0 in the autoencoder phase and never after it."""
        # After 10 autoencoder updates and with 4 of `kl_updates`: update 11 has 1/4, 14 has 1, and all later ones too.
        since = int(self.updates) - self.autoencoder_updates
        return min(1.0, max(0, since) / max(1, self.kl_updates))

    @property
    def first(self) -> bool:
        """Whether the update that began last is the first of all."""
        return int(self.updates) == 1

    @property
    def first_with_prior(self) -> bool:
        """Whether it is the first in which the KL divergence has a weight."""
        return int(self.updates) == self.autoencoder_updates + 1

    def begin(self) -> None:
        """To be called before the first micro-batch of each update."""
        self.updates += 1
        self._begun = True

    def take_begun(self) -> bool:
        """Whether this is the first call since an update began."""
        assert int(self.updates), "call begin_update() of the model before the first batch of each update"
        begun, self._begun = self._begun, False
        return begun


def alone_or_first() -> bool:
    """Whether this process trains by itself, or is the first of those that train together."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def take_over_from_first(parameters: Iterable[nn.Parameter]) -> None:
    """Gives every process the first one's parameters; to be called by all of them at the same time."""
    if dist.is_available() and dist.is_initialized():
        for parameter in parameters:
            dist.broadcast(parameter.detach(), src=0)
