"""Recurrent layers with one interface: SRU (on our own scan), GRU and LSTM (torch's).

Everything here is time-major. A layer's state is one tensor of shape (batch, states, dim): the cell of an SRU, the
hidden state of a GRU, the hidden state and the cell of an LSTM. Padding stands on the right and freezes the state.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.sru_scan import sru_scan
from seqdistill.nn.unrolled import gru, lstm, unrolled


class RecurrentLayer(Protocol):
    """What SRU, GRU and LSTM share."""

    states: int
    """Tensors of width `dim` that a sequence carries from step to step."""

    def __call__(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
        """Hidden states at every step, and the state after the last token that is no padding.

        With two directions each has half of `dim`: first the one that reads left to right.
        """
        ...

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], state: Float[Tensor, "batch states dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch states dim"]]:
        """Hidden state and state after one more token, of a layer of one direction; what decoding does."""
        ...


class SRU(nn.Module):
    """Simple recurrent unit (Lei et al. 2018), one layer, one or two directions.

    f = s(Wf x + vf c' + bf); c = f c' + (1 - f) W x; r = s(Wr x + vr c' + br); h = r c + (1 - r) x scale, where c' is
    the previous cell. Where input and hidden size of a direction differ, a fourth matrix replaces x in h.
    `highway_bias` is what br starts from; with `rescale`, scale = sqrt(1 + 2 exp(highway_bias)), else 1.
    """

    states = 1

    def __init__(
        self,
        input_dim: int,
        dim: int,
        *,
        bidirectional: bool = False,
        highway_bias: float = 0.0,
        rescale: bool = False,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        assert dim % self.directions == 0
        self.hidden_dim = dim // self.directions
        self.matrices = 3 if input_dim == self.hidden_dim else 4
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale else 1.0
        self.weight = nn.Parameter(torch.empty(self.directions, input_dim, self.matrices * self.hidden_dim))
        self.recurrent = nn.Parameter(torch.empty(self.directions, 2, self.hidden_dim))
        self.bias = nn.Parameter(torch.zeros(self.directions, 2, self.hidden_dim))
        # Uniform on +-b has variance b^2 / 3: 1 / input_dim here, and 1 / (2 hidden_dim) for the recurrent vectors.
        self.product_input = ProductInput()
        bound = math.sqrt(3 / input_dim)
        nn.init.uniform_(self.weight, -bound, bound)
        bound = math.sqrt(1.5 / self.hidden_dim)
        nn.init.uniform_(self.recurrent, -bound, bound)
        # As the authors' code: candidate and highway keep the variance of the input, the two gates have half of it.
        with torch.no_grad():
            self.weight[..., self.hidden_dim : 3 * self.hidden_dim] *= math.sqrt(0.5)
            self.bias[:, 1] = highway_bias

    def forward(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
        time, batch, _ = inputs.shape
        if initial is None:
            initial = inputs.new_zeros(batch, 1, self.directions * self.hidden_dim)
        # (directions, time, batch, input_dim); all steps of a direction go through one matrix product, as rows.
        read = each_way(inputs, self.directions)
        hidden, final = sru_scan(
            self._project(self.product_input(read).flatten(1, 2)).unflatten(1, (time, batch)),
            read if self.matrices == 3 else None,
            self.recurrent,
            initial.view(batch, self.directions, self.hidden_dim).transpose(0, 1),
            padding=None if padding is None else each_way(padding, self.directions),
            scale=self.scale,
        )
        return both_ways(hidden, final)

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], state: Float[Tensor, "batch 1 dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch 1 dim"]]:
        """See `RecurrentLayer.step`."""
        cell = state[:, 0]
        gates = (self.product_input(inputs) @ self.weight[0]).to(cell.dtype)
        candidate, forget, reset, *fourth = gates.split(self.hidden_dim, 1)
        (forget_weight, reset_weight), (forget_bias, reset_bias) = self.recurrent[0], self.bias[0]
        # Both gates read c', the previous cell; h then mixes the new one with x.
        forget = torch.addcmul(forget_bias, cell, forget_weight).add_(forget).sigmoid_()
        reset = torch.addcmul(reset_bias, cell, reset_weight).add_(reset).sigmoid_()
        skipped = fourth[0] if fourth else inputs.to(cell.dtype)
        new = torch.lerp(candidate, cell, forget)
        return torch.lerp(skipped if self.scale == 1 else skipped * self.scale, new, reset), new[:, None]

    def _project(self, rows: Float[Tensor, "directions rows input_dim"]) -> Float[Tensor, "directions rows gates_dim"]:
        # Side by side: candidate (no bias), forget and reset gate, and the fourth matrix (no bias) where there is one.
        bias = nn.functional.pad(self.bias.flatten(1), (self.hidden_dim, (self.matrices - 3) * self.hidden_dim))
        if self.directions == 1:
            return torch.addmm(bias[0], rows[0], self.weight[0])[None]
        return torch.baddbmm(bias[:, None], rows, self.weight)


def each_way(
    sequence: Shaped[Tensor, "time batch *rest"], directions: int
) -> Shaped[Tensor, "directions time batch *rest"]:
    """The sequence as each direction reads it. Padding comes first in the backward one and leaves the cell at 0."""
    return sequence[None] if directions == 1 else torch.stack([sequence, sequence.flip(0)])


def both_ways(
    hidden: Float[Tensor, "directions time batch part"], final: Float[Tensor, "directions batch part"]
) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch 1 dim"]]:
    """States of all directions side by side; the backward ones are turned round into the order of the sequence."""
    if len(hidden) == 1:
        # (batch, part) -> (batch, 1, dim): a state has a dimension for its tensors, here one.
        return hidden[0], final[0][:, None]
    return torch.cat([hidden[0], hidden[1].flip(0)], -1), torch.cat([final[0], final[1]], -1)[:, None]


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014) as torch.nn.GRU computes it, one layer, one or two directions."""

    states = 1

    def __init__(self, input_dim: int, dim: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        assert dim % self.directions == 0
        self.gru = nn.GRU(input_dim, dim // self.directions, bidirectional=bidirectional)
        self.product_input = ProductInput()

    def forward(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
        if self.product_input.rounds:
            return self._unrolled(inputs, initial, padding)
        start = None if initial is None else by_direction(initial[:, 0], self.directions)
        # `final` is (directions, batch, part); states have the directions side by side, (batch, 1, dim).
        hidden, final = self.gru(packed(inputs, padding), start)
        return unpacked(hidden, len(inputs)), final.transpose(0, 1).flatten(1)[:, None]

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], state: Float[Tensor, "batch 1 dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch 1 dim"]]:
        """See `RecurrentLayer.step`."""
        if self.product_input.rounds:
            hidden, after = self._unrolled(inputs[None], state, None)
            return hidden[0], after
        # `all_weights[0]` is the one direction's list of weights and biases, in the order that the cell takes them.
        hidden = torch.gru_cell(inputs, state[:, 0], *self.gru.all_weights[0])
        return hidden, hidden[:, None]

    def _unrolled(self, inputs: Tensor, initial: Tensor | None, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        if initial is None:
            initial = inputs.new_zeros(inputs.shape[1], 1, self.directions * self.gru.hidden_size)
        return unrolled(gru, self.product_input, inputs, initial, padding, self.gru.all_weights)


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) as torch.nn.LSTM computes it, one layer.

    On CPUs autocast is not followed: without AVX-512, oneDNN has no LSTM in bfloat16 and stops.
    """

    states = 2

    def __init__(self, input_dim: int, dim: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        assert dim % self.directions == 0
        self.lstm = nn.LSTM(input_dim, dim // self.directions, bidirectional=bidirectional)
        self.product_input = ProductInput()

    def forward(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
        if self.product_input.rounds:
            return self._unrolled(inputs, initial, padding)
        with torch.autocast("cpu", enabled=False):
            if inputs.device.type == "cpu":
                dtype = next(self.parameters()).dtype
                inputs, initial = inputs.to(dtype), None if initial is None else initial.to(dtype)
            start = None if initial is None else tuple(by_direction(x, self.directions) for x in initial.unbind(1))
            hidden, final = self.lstm(packed(inputs, padding), start)
        # `final` is a pair, hidden state and cell, each (directions, batch, part): together (batch, 2, dim).
        return unpacked(hidden, len(inputs)), torch.stack([x.transpose(0, 1).flatten(1) for x in final], 1)

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], state: Float[Tensor, "batch 2 dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch 2 dim"]]:
        """See `RecurrentLayer.step`."""
        if self.product_input.rounds:
            hidden, after = self._unrolled(inputs[None], state, None)
            return hidden[0], after
        hidden, cell = torch.lstm_cell(inputs, state.unbind(1), *self.lstm.all_weights[0])
        return hidden, torch.stack([hidden, cell], 1)

    def _unrolled(self, inputs: Tensor, initial: Tensor | None, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        if initial is None:
            initial = inputs.new_zeros(inputs.shape[1], 2, self.directions * self.lstm.hidden_size)
        return unrolled(lstm, self.product_input, inputs, initial, padding, self.lstm.all_weights)


def by_direction(state: Float[Tensor, "batch dim"], directions: int) -> Float[Tensor, "directions batch part"]:
    """Splits the width into directions, as torch's modules want their initial states."""
    return state.unflatten(1, (directions, -1)).transpose(0, 1).contiguous()


def packed(
    inputs: Float[Tensor, "time batch dim"], padding: Bool[Tensor, "time batch"] | None
) -> Tensor | nn.utils.rnn.PackedSequence:
    """Hides padding from torch's recurrent modules."""
    if padding is None:
        return inputs
    # Torch wants lengths on the CPU, whatever the device. `enforce_sorted=False` sorts by them and undoes it.
    lengths = (~padding).sum(0).cpu()
    return nn.utils.rnn.pack_padded_sequence(inputs, lengths, enforce_sorted=False)


def unpacked(hidden: Tensor | nn.utils.rnn.PackedSequence, time: int) -> Float[Tensor, "time batch dim"]:
    """Undoes `packed`; zeros where padding is."""
    if isinstance(hidden, Tensor):
        return hidden
    return nn.utils.rnn.pad_packed_sequence(hidden, total_length=time)[0]
