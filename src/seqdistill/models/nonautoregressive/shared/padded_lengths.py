"""Targets padded with EOS to a multiple of some unit, and how long they are (Ma et al. 2019, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.errors import UserError
from seqdistill.models.nonautoregressive.configs import REACH
from seqdistill.nn.losses import exact
from seqdistill.vocabulary.ids import SpecialIds

LENGTH_SMOOTHING = 0.1
"""Label smoothing of lengths in training."""


def padded_targets(target: Int[Tensor, "batch target"], unit: int, ids: SpecialIds) -> Int[Tensor, "batch padded"]:
    """The words of each row, then EOS up to the next multiple of `unit` (none if there is no room; `unit` of them in an
    empty row), then PAD up to the longest row.

    Args:
        target: ends with EOS, right-padded with PAD.
    """
    words = ((target != ids.pad).sum(1) - 1)[:, None]
    lengths = whole_units(words, unit)
    longest = int(lengths.max())
    positions = torch.arange(longest, device=target.device)
    tokens = F.pad(target, (0, max(0, longest - target.shape[1])), value=ids.pad)[:, :longest]
    return torch.where(positions < words, tokens, torch.where(positions < lengths, ids.eos, ids.pad))


def whole_units(lengths: Int[Tensor, "*rows"], unit: int) -> Int[Tensor, "*rows"]:
    """Rounded up to multiples of `unit`, at least one."""
    # -(-n // unit) rounds up: 5 words in units of 4 give 2 units, 8 positions.
    return (-(-lengths // unit) * unit).clamp(min=unit)


class PaddedLength(nn.Module):
    """A softmax over the lengths of a padded target, as differences to the source's, from the mean of its states.

    Of the differences -20 .. 20 those count that give a positive multiple of `unit`; the source's length counts no EOS.
    A target beyond them counts as the nearest of them, as in the authors' code. Unlike there, the classifier is linear,
    and reads the mean of the states instead of the last one, as other models here do.
    """

    def __init__(self, dim: int, unit: int) -> None:
        super().__init__()
        self.output = nn.Linear(dim, 2 * REACH + 1)
        self.unit = unit

    def forward(
        self, states: Float[Tensor, "rows source dim"], mask: Bool[Tensor, "rows source"]
    ) -> Float[Tensor, "rows differences"]:
        """Log-probabilities of the differences, minus infinity where there is no such length.

        Args:
            mask: False where the source is padding.
        """
        mean = states.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)
        lengths = self._lengths(mask)
        possible = (lengths % self.unit == 0) & (lengths > 0)
        return exact(self.output(mean)).masked_fill(~possible, -torch.inf).log_softmax(-1)

    def loss(
        self,
        states: Float[Tensor, "rows source dim"],
        mask: Bool[Tensor, "rows source"],
        lengths: Int[Tensor, " rows"],
    ) -> Float[Tensor, " rows"]:
        """Negative log-likelihood of lengths that are multiples of `unit`, in nats; in training, smoothed by 0.1 over
        the lengths that are possible."""
        log_probs = self(states, mask)
        there = self._lengths(mask)
        possible = log_probs > -torch.inf
        distance = (there - lengths[:, None]).abs().masked_fill(~possible, torch.iinfo(torch.int64).max)
        # The nearest possible length; of two equally near ones the shorter, which comes first.
        exact = -log_probs.gather(1, distance.argmin(1, keepdim=True)).squeeze(1)
        if not self.training:
            return exact
        even = -log_probs.masked_fill(~possible, 0).sum(1) / possible.sum(1)
        return (1 - LENGTH_SMOOTHING) * exact + LENGTH_SMOOTHING * even

    def most_probable(
        self, states: Float[Tensor, "rows source dim"], mask: Bool[Tensor, "rows source"], *, candidates: int
    ) -> tuple[Int[Tensor, "rows candidates"], Float[Tensor, "rows candidates"]]:
        """The best lengths of each row and their log-probabilities.

        Raises:
            UserError: more candidates than every source has lengths.
        """
        # A source without words has the fewest: the multiples of `unit` among 1 .. 20.
        most = REACH // self.unit
        if not 1 <= candidates <= most:
            raise UserError(
                f"this model tries 1 to {most} lengths (multiples of {self.unit}, at most {REACH} from the source's), "
                f"but beam is {candidates}"
            )
        log_probs, best = self(states, mask).topk(candidates)
        return self._lengths(mask).gather(1, best), log_probs

    def _lengths(self, mask: Bool[Tensor, "rows source"]) -> Int[Tensor, "rows differences"]:
        """The length that each difference stands for."""
        differences = torch.arange(-REACH, REACH + 1, device=mask.device)
        return mask.sum(1, keepdim=True) - 1 + differences
