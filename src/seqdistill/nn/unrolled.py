"""GRU and LSTM, one time step after the other: torch's kernels cannot round the state that enters each step's product.

Slower than torch's, and used only where a training rounds (`nn.int8`). Everything is time-major, as in `nn.recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

States = tuple[Tensor, ...]
"""Of a sequence between two steps, each (batch, part): the hidden state first."""


def gru(from_input: Tensor, from_hidden: Tensor, states: States) -> States:
    """The state after a step, of the two products' gates side by side: reset, update, candidate (Cho et al. 2014)."""
    (hidden,) = states
    reset_input, update_input, candidate_input = from_input.chunk(3, -1)
    reset_hidden, update_hidden, candidate_hidden = from_hidden.chunk(3, -1)
    reset, update = (reset_input + reset_hidden).sigmoid(), (update_input + update_hidden).sigmoid()
    candidate = (candidate_input + reset * candidate_hidden).tanh()
    return (torch.lerp(candidate, hidden, update),)


def lstm(from_input: Tensor, from_hidden: Tensor, states: States) -> States:
    """As `gru`, with gates input, forget, cell, output, and the cell as second state (Hochreiter, Schmidhuber 1997)."""
    _, cell = states
    enter, forget, candidate, leave = (from_input + from_hidden).chunk(4, -1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def unrolled(
    step: Callable[[Tensor, Tensor, States], States],
    read: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "time batch input_dim"],
    initial: Float[Tensor, "batch states dim"],
    padding: Bool[Tensor, "time batch"] | None,
    weights: Sequence[Sequence[Tensor]],
) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
    """As `RecurrentLayer.__call__`; 0 where padding is.

    Args:
        read: what a product makes of its input, such as to round it.
        weights: of each direction, as torch's `all_weights` has them: matrices of input and state, then their biases.
    """
    hidden, finals = [], []
    for direction, (start, own) in enumerate(zip(initial.chunk(len(weights), -1), weights, strict=True)):
        if direction:
            inputs, padding = inputs.flip(0), None if padding is None else padding.flip(0)
        found, final = _one_way(step, read, inputs, start, padding, own)
        hidden.append(found.flip(0) if direction else found)
        finals.append(final)
    return torch.cat(hidden, -1), torch.cat(finals, -1)


def _one_way(
    step: Callable[[Tensor, Tensor, States], States],
    read: Callable[[Tensor], Tensor],
    inputs: Tensor,
    initial: Tensor,
    padding: Tensor | None,
    weights: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """In the order of `inputs`; a direction that begins with padding keeps its initial state there."""
    weight, recurrent, bias, recurrent_bias = weights
    wide = torch.promote_types(inputs.dtype, torch.float32)
    projected = F.linear(read(inputs), weight, bias).to(wide)
    states, hidden = initial.to(wide).unbind(1), []
    for t, from_input in enumerate(projected):
        from_hidden = F.linear(read(states[0]), recurrent, recurrent_bias).to(wide)
        after = step(from_input, from_hidden, states)
        if padding is not None:
            frozen = padding[t, :, None]
            after = tuple(torch.where(frozen, old, new) for old, new in zip(states, after, strict=True))
        states = after
        hidden.append(states[0])
    stacked = torch.stack(hidden)
    return stacked if padding is None else stacked.masked_fill(padding[..., None], 0), torch.stack(states, 1)
