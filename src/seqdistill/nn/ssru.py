"""The simpler simple recurrent unit (Kim et al. 2019): an SRU without state in its gate and without a highway."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.recurrent import both_ways, each_way
from seqdistill.nn.sru_scan import FROZEN


class SSRUScan(torch.autograd.Function):
    """c_t = f_t c_{t-1} + (1 - f_t) x_t over all time steps, as `sru_scan` but with all gates known before.

    One kernel a step, forward and backward: the gradient of c is dc_t = a_t + f_{t+1} dc_{t+1}, a_t what reaches c_t
    from outside.
    """

    @staticmethod
    def forward(ctx: Any, candidate: Tensor, forget: Tensor, initial: Tensor) -> Tensor:
        directions, time, batch, dim = candidate.shape
        cells = candidate.new_empty(directions, time + 1, batch, dim)
        cells[:, 0] = initial
        candidates, gates, steps = (x.unbind(1) for x in (candidate, forget, cells))
        for t in range(time):
            # steps[t + 1] = c_t = x_t + f_t (c_{t-1} - x_t), as steps[0] is the initial cell.
            torch.lerp(candidates[t], steps[t], gates[t], out=steps[t + 1])
        ctx.save_for_backward(candidate, forget, cells)
        return cells[:, 1:].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_cells: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        candidate, forget, cells = ctx.saved_tensors
        d_cells = d_cells.clone()
        steps, gates = d_cells.unbind(1), forget.unbind(1)
        # When the loop comes to t, dc_{t+1} is complete.
        for t in range(len(steps) - 2, -1, -1):
            steps[t].addcmul_(steps[t + 1], gates[t + 1])
        # By x_t: dc_t (1 - f_t). By f_t: dc_t (c_{t-1} - x_t). By the initial cell: dc_0 f_0.
        return d_cells * (1 - forget), d_cells * (cells[:, :-1] - candidate), steps[0] * gates[0]


class SSRU(nn.Module):
    """One layer, one or two directions: f = s(Wf x + bf); c = f c' + (1 - f) W x; h = relu(c), c' the previous cell."""

    states = 1

    def __init__(self, input_dim: int, dim: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        assert dim % self.directions == 0
        self.hidden_dim = dim // self.directions
        self.weight = nn.Parameter(torch.empty(self.directions, input_dim, 2 * self.hidden_dim))
        self.bias = nn.Parameter(torch.zeros(self.directions, self.hidden_dim))
        self.product_input = ProductInput()
        bound = math.sqrt(3 / input_dim)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch states dim"]]:
        """See `RecurrentLayer`; half precision is scanned in fp32."""
        read = each_way(self.product_input(inputs), self.directions)
        candidate, forget = (read @ self.weight[:, None]).split(self.hidden_dim, -1)
        wide = torch.promote_types(candidate.dtype, torch.float32)
        forget = forget.to(wide) + self.bias[:, None, None]
        # sigmoid(FROZEN) is exactly 1: c_t = c_{t-1}, and no gradient reaches x_t or the gate's input.
        if padding is not None:
            forget = forget.masked_fill(each_way(padding, self.directions)[..., None], FROZEN)
        if initial is None:
            initial = forget.new_zeros(inputs.shape[1], 1, self.directions * self.hidden_dim)
        start = initial.to(wide).view(-1, self.directions, self.hidden_dim).transpose(0, 1)
        cells: Tensor = SSRUScan.apply(candidate.to(wide), forget.sigmoid(), start)  # pyright: ignore
        return both_ways(cells.relu(), cells[:, -1])

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], state: Float[Tensor, "batch 1 dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch 1 dim"]]:
        """See `RecurrentLayer.step`."""
        candidate, forget = (self.product_input(inputs) @ self.weight[0]).to(state.dtype).split(self.hidden_dim, 1)
        cell = torch.lerp(candidate, state[:, 0], (forget + self.bias[0]).sigmoid_())
        return cell.relu(), cell[:, None]
