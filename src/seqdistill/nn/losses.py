"""Losses as a sum and a count; only the training loop divides."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 4 * 2**20
"""Logits alive at once: 16 MiB in fp32, which stays in a CPU's last cache."""


class Loss(NamedTuple):
    """A loss summed over labels, and how many labels were summed."""

    total: Float[Tensor, ""]
    """Sum in nats; carries the gradient."""
    count: int
    """Number of labels in the sum."""


class _ProjectedNLL(torch.autograd.Function):
    """Output layer, softmax and smoothed negative log-likelihood in one; logits live for one chunk of rows only.

    With p = softmax(h W'), V words and smoothing e, the loss of a row is -(1-e) log p[label] - e/V sum log p, whose
    derivative by the logits is p - (1-e) onehot - e/V. It is at hand when the loss is, so the gradients by `hidden` and
    `weight` are made in the forward pass and backward only scales them.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        vocab = weight.shape[0]
        want_hidden, want_weight = ctx.needs_input_grad[:2]
        hidden_grad = torch.empty_like(hidden) if want_hidden else None
        weight_grad = torch.zeros_like(weight) if want_weight else None
        total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
        rows = max(1, CHUNK_ELEMENTS // vocab)
        for start in range(0, len(labels), rows):
            chunk, label = hidden[start : start + rows], labels[start : start + rows, None]
            logits = (chunk @ weight.T).to(total.dtype)
            log_normaliser = logits.logsumexp(1, keepdim=True)
            total += (log_normaliser - (1 - smoothing) * logits.gather(1, label)).sum()
            if smoothing:
                total -= smoothing * logits.mean(1).sum()
            if not (want_hidden or want_weight):
                continue
            slope = logits.sub_(log_normaliser).exp_()
            if smoothing:
                slope -= smoothing / vocab
            slope.scatter_add_(1, label, slope.new_full((1, 1), smoothing - 1).expand_as(label))
            slope = slope.to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(slope, weight, out=hidden_grad[start : start + rows])
            if weight_grad is not None:
                weight_grad.addmm_(slope.T, chunk)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grads
        hidden_grad, weight_grad = ctx.saved_tensors
        scaled = [None if saved is None else saved * grad.to(saved.dtype) for saved in (hidden_grad, weight_grad)]
        return scaled[0], scaled[1], None, None


def label_smoothed_nll(
    hidden: Float[Tensor, "*rows dim"],
    weight: Float[Tensor, "vocab dim"],
    labels: Int[Tensor, "*rows"],
    *,
    padding: int,
    label_smoothing: float = 0.0,
) -> Loss:
    """Negative log-likelihood, in nats, of the labels under softmax(hidden weight'), summed where they are no padding.

    Smoothing by e trains towards (1-e) onehot + e/V (Szegedy et al. 2016, section 7). Equal to
    `torch.nn.functional.cross_entropy(..., reduction="sum")`, but padding is left out before the product with the
    weights, and the logits are never all in memory.
    """
    real = labels != padding
    hidden, labels = hidden[real], labels[real]
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        total = _ProjectedNLL.apply(hidden, weight, labels, label_smoothing)
    return Loss(total, labels.numel())  # type: ignore[arg-type]
