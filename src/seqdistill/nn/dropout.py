"""Dropout (Srivastava et al. 2014) that costs next to nothing on a CPU, fused with what stands beside it.

Torch draws one Bernoulli number for each element, which took a tenth of a training step on two cores. Here one 64-bit
draw of the same global generator decides eight elements: each keeps a byte of it, and is dropped if the byte is below
256 times the rate. So rates are multiples of 1/256 (0.1 is 26/256 = 0.1016), and what is kept is scaled to match.
Other devices draw fast enough by themselves.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.autograd.function import once_differentiable


def dropout(x: Float[Tensor, "*shape"], rate: float, *, training: bool) -> Float[Tensor, "*shape"]:
    """Zero with probability `rate`, otherwise scaled up so that the mean stays; in evaluation, x itself."""
    if not training or not rate:
        return x
    return _Dropped.apply(x, None, rate) if x.device.type == "cpu" else F.dropout(x, rate)  # type: ignore[return-value]


def add_dropped(
    x: Float[Tensor, "*shape"], change: Float[Tensor, "*shape"], rate: float, *, training: bool
) -> Float[Tensor, "*shape"]:
    """x + dropout(change)."""
    if not training or not rate:
        return x + change
    if x.device.type != "cpu":
        return x + F.dropout(change, rate)
    return _Dropped.apply(change, x, rate)  # type: ignore[return-value]


def relu_dropped(x: Float[Tensor, "*shape"], rate: float, *, training: bool) -> Float[Tensor, "*shape"]:
    """dropout(max(0, x)), written over x."""
    if not training or not rate:
        return F.relu(x, inplace=True)
    if x.device.type != "cpu":
        return F.dropout(F.relu(x, inplace=True), rate)
    return _ReluDropped.apply(x, rate)  # type: ignore[return-value]


class _Dropped(torch.autograd.Function):
    """dropout(x), plus `base` where there is one; one byte an element is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor | None, rate: float) -> Tensor:
        # The mask is made twice, from a byte an element, rather than kept as a float of four.
        # y = x * mask (+ base), so dx = dy * mask and dbase = dy.
        noise, (ctx.threshold, ctx.scale) = _noise(x), _threshold(rate)
        ctx.save_for_backward(noise)
        ctx.dtype = x.dtype
        if base is None:
            return x * _mask(noise, ctx.threshold, ctx.scale, x.dtype)
        return torch.addcmul(base, x.to(base.dtype), _mask(noise, ctx.threshold, ctx.scale, base.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,) = grads
        (noise,) = ctx.saved_tensors
        dropped = (grad * _mask(noise, ctx.threshold, ctx.scale, grad.dtype)).to(ctx.dtype)
        return dropped, grad if ctx.needs_input_grad[1] else None, None


class _ReluDropped(torch.autograd.Function):
    """dropout(max(0, x)) in place of x; what is above zero tells the backward pass what was kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        threshold, ctx.scale = _threshold(rate)
        ctx.mark_dirty(x)
        x.clamp_min_(0).mul_(_mask(_noise(x), threshold, ctx.scale, x.dtype))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # What is above 0 was both above 0 and kept, and there the derivative is `scale`; elsewhere it is 0.
        (kept,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grads[0], kept, 0).mul_(ctx.scale), None


def _threshold(rate: float) -> tuple[int, float]:
    """Bytes below the first number are dropped; the second is what the others are multiplied by.

    >>> threshold, scale = _threshold(0.1)
    >>> threshold, round(scale, 4)  # 26 of 256 bytes; 256 / 230
    (26, 1.113)
    """
    # Of 256 bytes 256 - threshold are kept: scaled by the inverse of that share, the mean stays. One byte at least is
    # kept, as a scale would otherwise be 256 / 0.
    threshold = min(round(256 * rate), 255)
    return threshold, 256 / (256 - threshold)


def _noise(like: Tensor) -> UInt8[Tensor, "*shape"]:
    """A random byte for each element, from torch's global generator."""
    # Rounded up: 10 elements take 2 draws, which are 16 bytes, and leave 6. From -2^63 with no upper bound `random_`
    # draws all 64 bits; by default it would leave the sign bit 0, and every eighth byte below 128.
    draws = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.uint8)[: like.numel()].view(like.shape)


def _mask(noise: UInt8[Tensor, "*shape"], threshold: int, scale: float, dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """`scale` where kept, 0 where dropped; compared straight into the type it is needed in, which is fast."""
    return torch.ge(noise, threshold, out=torch.empty(noise.shape, dtype=dtype)).mul_(scale)
