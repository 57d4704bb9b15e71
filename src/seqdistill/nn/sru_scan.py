"""The scan of an SRU, what is left once its matrix products are done, forward and backward by hand; time-major."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

FROZEN = 1e4
"""Forget-gate input where padding is: sigmoid gives exactly 1, so the cell stays and no gradient passes."""


class SRUScan(torch.autograd.Function):
    """The element-wise part of an SRU over all time steps (Lei et al. 2018, eq. 3-7); see `sru_scan` for shapes.

    Forward: only f_t and c_t are sequential (three kernels a step); r and h follow for all steps at once.
    Backward: every factor is known from the forward pass, so the gradient of c is the linear recurrence
    dc_t = a_t + b_{t+1} * dc_{t+1} (one kernel a step), and the rest is again done for all steps at once. Here a_t is
    what reaches c_t through h_t and the reset gate of t + 1, and b_{t+1} = dc_{t+1} / dc_t by the gate and directly.
    """

    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        highway: Tensor | None,
        recurrent: Tensor,
        initial: Tensor,
        padding: Tensor | None,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        dim = initial.shape[-1]
        candidate, forget_input, reset_input, *fourth = projected.split(dim, dim=-1)
        skipped = fourth[0] if highway is None else highway
        forget_weight, reset_weight = recurrent[:, None, 0], recurrent[:, None, 1]
        # vf and vr: (directions, 1, dim), stretched over the batch.
        directions, time, batch, _ = projected.shape
        cells = projected.new_empty(directions, time + 1, batch, dim)
        cells[:, 0] = initial
        # cells[t + 1] is c_t, and cells[0] the initial one: `cells[:, :-1]` are the previous cells of all steps.
        forget = torch.empty_like(cells[:, 1:], memory_format=torch.contiguous_format)
        if padding is not None:
            # The gate's input is written where the gate will be: `addcmul` and `sigmoid` below work in place.
            forget_input = torch.where(padding[..., None], forget.new_tensor(FROZEN), forget_input, out=forget)
        # Unbound once: indexing in the loop would cost more than the kernels do. torch.lerp(a, b, w) is a + w (b - a).
        inputs, gates, candidates, steps = (x.unbind(1) for x in (forget_input, forget, candidate, cells))
        for t in range(time):
            # f_t = s(Wf x_t + bf + vf c_{t-1}), then c_t = W x_t + f_t (c_{t-1} - W x_t). `steps[t]` is c_{t-1}.
            torch.addcmul(inputs[t], steps[t], forget_weight, out=gates[t])
            torch.sigmoid(gates[t], out=gates[t])
            torch.lerp(candidates[t], steps[t], gates[t], out=steps[t + 1])
        # r_t = s(Wr x_t + br + vr c_{t-1}) and h_t = r_t c_t + (1 - r_t) scale x_t, for all steps at once.
        reset = torch.addcmul(reset_input, cells[:, :-1], reset_weight[:, None]).sigmoid_()
        hidden = torch.lerp(skipped if scale == 1 else skipped * scale, cells[:, 1:], reset)
        ctx.save_for_backward(projected, highway, recurrent, cells, forget, reset)
        ctx.scale = scale
        return hidden, cells[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        d_hidden, d_final = grads
        projected, highway, recurrent, cells, forget, reset = ctx.saved_tensors
        dim = cells.shape[-1]
        candidate, _, _, *fourth = projected.split(dim, dim=-1)
        skipped = fourth[0] if highway is None else highway
        forget_weight, reset_weight = recurrent[:, None, 0], recurrent[:, None, 1]
        before, after = cells[:, :-1], cells[:, 1:]
        d_projected = torch.empty_like(projected)
        d_candidate, d_forget, d_reset, *d_fourth = d_projected.split(dim, dim=-1)
        d_skipped = d_fourth[0] if highway is None else torch.empty_like(highway)

        # Buffers are used twice, as memory and its traffic are what this costs: each part of `d_projected` first holds
        # a factor that is known before dc is (1 - f, the slope of f), and is multiplied by dc in place at the end.

        # h = r * c + (1 - r) * scale * x, so dh/dc = r, dh/dx = (1 - r) scale, and by the input of r, with
        # dr = r (1 - r): (c - scale x) r (1 - r). `d_skipped` is dh (1 - r) until the others are made of it.
        d_cell = d_hidden * reset
        torch.sub(d_hidden, d_cell, out=d_skipped)
        torch.sub(after, skipped, alpha=ctx.scale, out=d_reset).mul_(d_skipped).mul_(reset)
        if ctx.scale != 1:
            d_skipped.mul_(ctx.scale)

        # c = f * c' + (1 - f) * candidate: `slope` is dc / d(input of f) = (c' - candidate) f (1 - f), and `carried` is
        # dc / dc' = f + slope * vf, as f reads c' too. The reset gate of the next step reads c: its gradient joins
        # here.
        rest = torch.sub(1, forget, out=d_candidate)
        slope = torch.sub(before, candidate, out=d_forget).mul_(forget).mul_(rest)
        carried = torch.addcmul(forget, slope, forget_weight[:, None])
        d_cell[:, -1] += d_final
        d_cell[:, :-1].addcmul_(d_reset[:, 1:], reset_weight[:, None])
        steps, factors = d_cell.unbind(1), carried.unbind(1)
        # Before this loop d_cell[t] is a_t; when it comes to t, d_cell[t + 1] is dc_{t+1}, with all later steps in it.
        for t in range(len(steps) - 2, -1, -1):
            steps[t].addcmul_(steps[t + 1], factors[t + 1])
        d_candidate.mul_(d_cell)
        d_forget.mul_(d_cell)

        # The initial cell is the c' of step 0: carried there, and read by its reset gate.
        d_initial = torch.addcmul(steps[0] * factors[0], d_reset[:, 0], reset_weight)
        # By vf and vr, which multiply c' in the gates: the gate inputs' gradients times c', over time and batch.
        d_recurrent = torch.stack([(gate * before).sum((1, 2)) for gate in (d_forget, d_reset)], 1)
        return d_projected, None if highway is None else d_skipped, d_recurrent, d_initial, None, None


def sru_scan(
    projected: Float[Tensor, "directions time batch gates_dim"],
    highway: Float[Tensor, "directions time batch dim"] | None,
    recurrent: Float[Tensor, "directions 2 dim"],
    initial: Float[Tensor, "directions batch dim"],
    *,
    padding: Bool[Tensor, "directions time batch"] | None = None,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "directions time batch dim"], Float[Tensor, "directions batch dim"]]:
    """Hidden states and final cell of an SRU whose matrix products are done.

    `projected` holds W x, Wf x + bf, Wr x + br side by side, and the fourth product where `highway` (x itself) is None;
    `recurrent` holds vf and vr. Where `padding` is true the cell does not change. Half precision is computed in fp32.

    Two steps with W x = 2, both gates 1/2 and x = 4: c is 0, 1, 1.5 and h = (c + x) / 2.

        >>> projected = torch.tensor([2.0, 0.0, 0.0]).expand(1, 2, 1, 3)
        >>> zero = torch.zeros(1, 2, 1)
        >>> hidden, cell = sru_scan(projected, torch.full((1, 2, 1, 1), 4.0), zero, zero[:, :1])
        >>> hidden.flatten(), cell.flatten()
        (tensor([2.5000, 2.7500]), tensor([1.5000]))
    """
    if projected.dtype in (torch.float16, torch.bfloat16):
        projected = projected.float()
    if highway is not None:
        highway = highway.to(projected.dtype)
    return SRUScan.apply(  # pyright: ignore[reportReturnType]
        projected, highway, recurrent.to(projected.dtype), initial.to(projected.dtype), padding, scale
    )
