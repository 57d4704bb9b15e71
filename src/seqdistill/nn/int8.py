"""int8 as exported models compute with it, and training that rounds in the same way (fake quantisation).

A product y = x W' takes whole numbers within +-127 and scales: each row of W has a scale, its largest magnitude over
127, and so has each row of x, anew in every product. Training in `rounding` computes with what these whole numbers
stand for, so the weights learn to bear it (Jacob et al. 2018, section 3). Gradients pass as if nothing had been
rounded (straight-through, Bengio et al. 2013); no number is cut off, as each row's largest becomes 127.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LARGEST = 127
SMALLEST = 1e-30
"""A row of inputs whose numbers are all below is zero, as in cpp/packed.cpp: 127 over them could overflow."""


class Quantized(NamedTuple):
    """A matrix of about numbers * scale."""

    numbers: Float[Tensor, "outputs inputs"]
    """Whole numbers within +-127."""
    scale: Float[Tensor, "outputs 1"]


def quantized(matrix: Float[Tensor, "outputs inputs"]) -> Quantized:
    """The whole numbers of a matrix and each row's scale, as `export` stores them; ties go to the even number.

    >>> quantized(torch.tensor([[127.0, 0.5, 1.5, -2.6], [0.0, 0.0, 0.0, 0.0]]))
    Quantized(numbers=tensor([[127.,   0.,   2.,  -3.],
            [  0.,   0.,   0.,   0.]]), scale=tensor([[1.],
            [1.]]))
    """
    # 127 as a tensor: a number of Python would be divided by as a multiplication with 1/127 on GPUs, in other bits.
    scale = matrix.abs().amax(1, keepdim=True) / matrix.new_full((), LARGEST)
    scale[scale == 0] = 1  # of a row of zeros, which stay zeros
    return Quantized((matrix / scale).round_().clamp_(-LARGEST, LARGEST), scale)


class _Rounded(torch.autograd.Function):
    """Rows of x as products read them; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        size, largest = exact.abs().amax(-1, keepdim=True), exact.new_full((), LARGEST)
        by = torch.where(size > SMALLEST, largest / size, 0)
        return (exact * by).round_().mul_(size / largest).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] # noqa: ARG004
        return grads[0]


def rounded(x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows inputs"]:
    """What the whole numbers of each row stand for, as `quantize_row` in cpp/packed.cpp makes them.

    >>> rounded(torch.tensor([[127.0, 0.6, -2.4], [254.0, 0.6, -2.4]]))
    tensor([[127.,   1.,  -2.],
            [254.,   0.,  -2.]])
    """
    return _Rounded.apply(x)  # type: ignore[return-value]


class ProductInput(nn.Module):
    """Stands where a model multiplies with a matrix other than by an `nn.Linear`: what is read, rounded on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = False
        """Set by `rounding`."""

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows inputs"]:
        return rounded(x) if self.rounds else x


@contextmanager
def rounding(model: nn.Module, matrices: Iterable[Tensor]) -> Iterator[None]:
    """While it is open, the model computes as its int8 export does: forward, backward, decoding.

    The matrices hold their rounded values meanwhile, in place: so whatever reads them, such as embeddings, tied output
    layers and torch's own kernels, reads these, and gradients by them are the parameters' own. Afterwards they hold
    what they held before, to the bit.

    Args:
        matrices: all that the export quantises, (outputs, inputs): the model's parameters, or views of them, each once.
    """
    views = list(matrices)
    before = [view.detach().clone() for view in views]
    inputs = [module for module in model.modules() if isinstance(module, ProductInput)]
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_pre_hook(lambda _, given: (rounded(given[0]),)) for module in linear]
    try:
        _write(views, (numbers * scale for numbers, scale in map(quantized, before)))
        for module in inputs:
            module.rounds = True
        yield
    finally:
        for module in inputs:
            module.rounds = False
        for hook in hooks:
            hook.remove()
        _write(views, before)


@torch.no_grad()
def _write(views: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    for view, value in zip(views, values, strict=True):
        view.copy_(value)
