"""Hidden Markov models in float64, many at a time: sampling, likelihood, posterior and Viterbi decoding.

The states are the target y, the symbols they emit the source x, as in tagging. Rabiner 1989, "A Tutorial on Hidden
Markov Models and Selected Applications in Speech Recognition", gives the recursions.

The two decoders differ where good states do not make a good sequence. State 0 begins with 0.4 and stays; state 1 begins
with 0.6 and goes on to either. The symbols tell nothing. Sequences 00, 10 and 11 have 0.4, 0.3 and 0.3, so 00 is the
best one; but the first state is 1 with 0.6, the second 0 with 0.7, so 10 has the most right states to be expected:

    >>> initial, transition = torch.tensor([[0.4, 0.6]]), torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
    >>> models = HMMs(initial.double(), transition.double(), torch.ones(1, 2, 1).double())
    >>> source = torch.zeros(1, 1, 2, dtype=torch.int64)
    >>> viterbi_decoding(models, source).tolist(), posterior_decoding(models, source).tolist()
    ([[[0, 0]]], [[[1, 0]]])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda parameters: parameters.softmax(-1),
    "sum": lambda parameters: parameters / parameters.sum(-1, keepdim=True),
}
"""How positive parameters become probabilities along the last dimension."""


class HMMs(NamedTuple):
    """Probabilities of several HMMs of one size; every last dimension sums to 1."""

    initial: Float64[Tensor, "hmms states"]
    transition: Float64[Tensor, "hmms states next_states"]
    emission: Float64[Tensor, "hmms states symbols"]


class Pairs(NamedTuple):
    """Sequences of symbols, each beside the states that emitted it."""

    source: Int64[Tensor, "hmms sequences time"]
    target: Int64[Tensor, "hmms sequences time"]


def random_hmms(
    *,
    hmms: int,
    states: int,
    symbols: int,
    a: float,
    b: float,
    normalise: str = "softmax",
    generator: torch.Generator,
) -> HMMs:
    """HMMs with parameters uniform on (0, a] (initial and transition) and (0, b] (emission), then normalised.

    Zhou et al. 2020, appendix D. "sum" divides by the sum, which cancels a and b: any values give the same
    distribution. "softmax" takes the parameters as logarithms, so a large a or b gives peaked distributions.

    Args:
        normalise: a name in NORMALISE.
    """

    def rows(*shape: int, largest: float) -> Tensor:
        parameters = largest * (1 - torch.rand(*shape, dtype=torch.float64, generator=generator))
        return NORMALISE[normalise](parameters)

    return HMMs(
        rows(hmms, states, largest=a), rows(hmms, states, states, largest=a), rows(hmms, states, symbols, largest=b)
    )


def sample(models: HMMs, *, sequences: int, time: int, generator: torch.Generator) -> Pairs:
    """Draws `sequences` pairs of `time` steps from every HMM."""

    def draw(probabilities: Tensor) -> Tensor:
        flat = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator)
        return flat.view(probabilities.shape[:-1])

    which = torch.arange(len(models.initial))[:, None]
    states = [draw(models.initial[:, None].expand(-1, sequences, -1))]
    while len(states) < time:
        states.append(draw(models.transition[which, states[-1]]))
    symbols = [draw(models.emission[which, state]) for state in states]
    return Pairs(torch.stack(symbols, -1), torch.stack(states, -1))


class Forward(NamedTuple):
    """Results of the forward recursion."""

    filtered: Float64[Tensor, "hmms sequences time states"]
    """p(state at t | symbols up to t)."""
    log_likelihood: Float64[Tensor, "hmms sequences"]
    """log p(symbols), natural."""


def forward(models: HMMs, source: Int64[Tensor, "hmms sequences time"]) -> Forward:
    """The forward recursion, normalised at every step so that long sequences do not underflow.

    Raises:
        ValueError: a sequence that its HMM cannot emit.
    """
    # `arriving` is p(state at t | symbols before t). A step's scale is p(symbol at t | symbols before t), so the
    # product of the scales is the likelihood.
    emitted = _emitted(models, source)
    filtered, scales = [], []
    arriving = models.initial[:, None]
    for likelihood in emitted.unbind(2):
        joint = arriving * likelihood
        scales.append(joint.sum(-1))
        if not scales[-1].all():
            raise ValueError("a sequence has probability 0 under its HMM, so its states have no distribution")
        filtered.append(joint / scales[-1][..., None])
        arriving = filtered[-1] @ models.transition
    return Forward(torch.stack(filtered, 2), torch.stack(scales, 2).log().sum(2))


def posterior(
    models: HMMs, source: Int64[Tensor, "hmms sequences time"]
) -> Float64[Tensor, "hmms sequences time states"]:
    """p(state at t | all symbols), by forward-backward.

    Raises:
        ValueError: a sequence that its HMM cannot emit.
    """
    filtered = forward(models, source).filtered
    emitted = _emitted(models, source)
    # `ahead` is p(symbols after t | state at t) up to a factor that is the same for all states of a step; the posterior
    # is proportional to filtered times ahead, and normalised at the end.
    ahead = [torch.ones_like(filtered[:, :, 0])]
    for likelihood in emitted[:, :, 1:].flip(2).unbind(2):
        unscaled = (likelihood * ahead[-1]) @ models.transition.mT
        ahead.append(unscaled / unscaled.sum(-1, keepdim=True))
    joint = filtered * torch.stack(ahead[::-1], 2)
    return joint / joint.sum(-1, keepdim=True)


def posterior_decoding(
    models: HMMs, source: Int64[Tensor, "hmms sequences time"]
) -> Int64[Tensor, "hmms sequences time"]:
    """At each position the most probable state: the Bayes decision for token accuracy (token-level distillation).

    Of equally probable states the lowest. Raises as `posterior`.
    """
    return posterior(models, source).argmax(-1)


def viterbi_decoding(
    models: HMMs, source: Int64[Tensor, "hmms sequences time"]
) -> Int64[Tensor, "hmms sequences time"]:
    """The most probable sequence of states: the Bayes decision for sequence accuracy (sequence-level distillation)."""
    emitted = _emitted(models, source).log()
    best = models.initial.log()[:, None] + emitted[:, :, 0]
    # best[s] is the log-probability of the best sequence that ends in s; came_from[t][s] is the state before it there.
    came_from = []
    for likelihood in emitted[:, :, 1:].unbind(2):
        reached, previous = (best[..., None] + models.transition.log()[:, None]).max(2)  # hmms sequences next_states
        came_from.append(previous)
        best = reached + likelihood
    states = [best.argmax(-1, keepdim=True)]
    for previous in reversed(came_from):
        states.append(previous.gather(-1, states[-1]))
    return torch.cat(states[::-1], -1)


def log_joint(models: HMMs, pairs: Pairs) -> Float64[Tensor, "hmms sequences"]:
    """log p(x, y) of whole pairs, natural."""
    which = torch.arange(len(models.initial))[:, None]
    source, target = pairs
    total = models.initial.log()[which, target[:, :, 0]]
    total = total + models.emission.log()[which[..., None], target, source].sum(2)
    return total + models.transition.log()[which[..., None], target[:, :, :-1], target[:, :, 1:]].sum(2)


def _emitted(models: HMMs, source: Tensor) -> Float64[Tensor, "hmms sequences time states"]:
    """p(symbol at t | state at t) for every state."""
    which = torch.arange(len(source))[:, None, None]
    return models.emission.mT[which, source]
