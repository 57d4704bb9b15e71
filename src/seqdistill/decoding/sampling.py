"""Drawing tokens: one uniform number per token, hashed from (seed, sentence, draw, step), and truncated distributions.

The uniform number picks a token by inverting the cumulative distribution, so a draw depends on its own sentence only:
not on the batch it is decoded in, nor on the order of batches, workers or machines.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from seqdistill.options import DecodingOptions


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit reaches every output bit."""
    # Sums and products wrap around at 2^64, as those of numpy's arrays do.
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def draw_keys(seed: int, sentences: NDArray[np.int64], draws: int) -> NDArray[np.uint64]:
    """A key for each draw of each sentence, the draws of a sentence side by side; shape (sentences * draws,).

    A sentence's keys do not depend on those beside it:

        >>> bool((draw_keys(1, np.array([7]), 2) == draw_keys(1, np.array([3, 7]), 2)[2:]).all())
        True
    """
    root = _mixed(np.array([seed % 2**64], np.uint64))
    keys = _mixed(root ^ sentences.astype(np.uint64))
    return _mixed(np.repeat(keys, draws) ^ np.tile(np.arange(draws, dtype=np.uint64), len(sentences)))


def uniform(keys: NDArray[np.uint64], step: int) -> NDArray[np.float64]:
    """One number in [0, 1) for each key at this step, with 52 random bits."""
    return (_mixed(keys ^ _mixed(np.array([step], np.uint64))) >> np.uint64(12)).astype(np.float64) * 2.0**-52


def draw(
    log_probs: Float[Tensor, "rows vocab"], numbers: Float[Tensor, " rows"], options: DecodingOptions
) -> Int[Tensor, " rows"]:
    """Draws one token a row from softmax(log_probs / temperature), cut to the top k (Fan et al. 2018), then to the
    nucleus of mass p of what is left (Holtzman et al. 2020: the fewest tokens whose probabilities reach p).

    Args:
        log_probs: any multiple of the identity above the log-probabilities; minus infinity is never drawn.
        numbers: in [0, 1), float64; the token is where the cumulative probability first exceeds the number.
    """
    # Cumulative probabilities .5, .8, 1 and the number .6: the second token. Where the distribution is cut, the number
    # is multiplied by the mass that is left instead of the distribution divided by it.
    scores = log_probs / options.temperature
    tokens = None
    if 0 < options.top_k < scores.shape[1]:
        scores, tokens = scores.topk(options.top_k)
    elif options.top_p < 1:
        scores, tokens = scores.sort(1, descending=True)
    cumulative = scores.softmax(1).cumsum(1, dtype=torch.float64)
    total = cumulative[:, -1:]
    if options.top_p < 1:
        # The first place that reaches p: with .5, .8, 1 and p = .7 one lies below, so it is place 1, and .8 is left.
        last = (cumulative < options.top_p).sum(1, keepdim=True).clamp(max=cumulative.shape[1] - 1)
        total = cumulative.gather(1, last)
    # `right`: the first place whose cumulative probability exceeds the number, so none of probability 0.
    place = torch.searchsorted(cumulative, numbers[:, None] * total, right=True)
    return (place if tokens is None else tokens.gather(1, place)).squeeze(1)
