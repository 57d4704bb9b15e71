"""A normal distribution of latent variables for each position of a target (Ma et al. 2019, sections 3.1 and 3.3)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.nn.flow_layers import SMALLEST_DEVIATION, Condition
from seqdistill.nn.layers import Decoder, Embedding

FIRST_DEVIATION = 0.05
"""Standard deviation, over the positions of some data, of means and of log-variances when they are fitted to it."""


class Gaussian(NamedTuple):
    """Independent normal distributions."""

    mean: Float[Tensor, "rows length dim"]
    log_variance: Float[Tensor, "rows length dim"]

    def at(self, noise: Float[Tensor, "rows length dim"]) -> Float[Tensor, "rows length dim"]:
        """The sample that standard normal noise becomes."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def log_prob(
        self, noise: Float[Tensor, "rows length dim"], mask: Bool[Tensor, "rows length"]
    ) -> Float[Tensor, " rows"]:
        """Natural log-density of that sample, real positions only.

        With mean 0 and variance 4, noise 1 becomes 2, one deviation from the mean: -(ln 4 + 1 + ln 2 pi) / 2.

            >>> wide, one = Gaussian(torch.zeros(1, 1, 1), torch.full((1, 1, 1), math.log(4))), torch.ones(1, 1, 1)
            >>> wide.at(one).item(), wide.log_prob(one, one[..., 0] > 0)
            (2.0, tensor([-2.1121]))
        """
        # No division by the variance: (sample - mean) / deviation is the noise that it was made of.
        each = self.log_variance + noise.square() + math.log(2 * math.pi)
        return -(each * mask[..., None]).sum((1, 2)) / 2


class Posterior(nn.Module):
    """q(z | y, x): a stack of decoder layers without causal mask over the target, then two linear maps.

    In training it does not see some of the target's words, which keeps it from being a table of words (section 3.3).
    """

    def __init__(self, stack: Decoder, dim: int, word_dropout: float) -> None:
        super().__init__()
        self.stack = stack
        self.mean = nn.Linear(dim, dim)
        self.log_variance = nn.Linear(dim, dim)
        self.word_dropout = word_dropout

    def forward(self, embedding: Embedding, tokens: Int[Tensor, "rows length"], condition: Condition) -> Gaussian:
        """Args:
        condition: of the target's positions; sources are read from it.
        """
        states = self._states(embedding, tokens, condition)
        exact = torch.promote_types(states.dtype, torch.float32)
        return Gaussian(self.mean(states).to(exact), self.log_variance(states).to(exact))

    @torch.no_grad()
    def fit_means(self, embedding: Embedding, tokens: Int[Tensor, "rows length"], condition: Condition) -> None:
        """Scales the map of means for this data, so that training starts where the decoder can read them."""
        _fit(self.mean, self._states(embedding, tokens, condition)[condition.mask])

    @torch.no_grad()
    def fit_variances(self, embedding: Embedding, tokens: Int[Tensor, "rows length"], condition: Condition) -> None:
        """Scales the map of log-variances for this data: variances are then near 1."""
        _fit(self.log_variance, self._states(embedding, tokens, condition)[condition.mask])

    def _states(
        self, embedding: Embedding, tokens: Int[Tensor, "rows length"], condition: Condition
    ) -> Float[Tensor, "rows length dim"]:
        words = F.embedding(tokens, embedding.weight) * embedding.scale
        if self.training and self.word_dropout:
            # A word is dropped whole, its position stays. Scaled up, what is left has the same mean as in evaluation.
            seen = torch.rand(tokens.shape, device=tokens.device) >= self.word_dropout
            words = words * seen[..., None] / (1 - self.word_dropout)
        x = words + embedding.positions_to(tokens.shape[1])
        return self.stack(x, condition.mask, condition.memory, condition.memory_mask, causal=False)


def _fit(linear: nn.Linear, x: Float[Tensor, "places dim"]) -> None:
    """Gives the outputs for these inputs mean 0 and standard deviation FIRST_DEVIATION in each dimension.

    Outputs W x of mean m and deviation s become (k W) x - k m with k = FIRST_DEVIATION / s.
    """
    outputs = F.linear(x, linear.weight)
    # Without the bias: it is set here, and is not part of what is scaled.
    deviation, mean = torch.std_mean(outputs, dim=0, correction=0)
    scale = FIRST_DEVIATION / deviation.clamp(min=SMALLEST_DEVIATION)
    linear.weight.mul_(scale[:, None])
    linear.bias.copy_(-mean * scale)
