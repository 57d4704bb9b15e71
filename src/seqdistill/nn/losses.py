"""Losses as a sum and a count; only the training loop divides."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = {"cpu": 4 * 2**20, "cuda": 64 * 2**20}
"""Logits alive at once: on CPUs 16 MiB in fp32, which stay in the last cache; on GPUs enough to keep them busy."""


def exact(logits: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The logits in float32 at least. In half precision they are too coarse to compare probabilities."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def rows_at_a_time(weight: Float[Tensor, "vocab dim"]) -> int:
    """Rows whose logits may be in memory at once."""
    return max(1, CHUNK_ELEMENTS.get(weight.device.type, CHUNK_ELEMENTS["cuda"]) // len(weight))


class Loss(NamedTuple):
    """A loss summed over labels, and how many labels were summed."""

    total: Float[Tensor, ""]
    """Sum in nats; carries the gradient."""
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    """Number of labels in the sum."""


class _ProjectedNLL(torch.autograd.Function):
    """Output layer, softmax and smoothed negative log-likelihood in one; logits live for one chunk of rows only.

    With logits z = h W', p = softmax(z), V words and smoothing e, the loss of a row is
    log sum exp z - (1-e) z[label] - e/V sum z, and its derivative by z is p - (1-e) onehot - e/V. Both are at hand at
    the same time, so the gradients by h and W are made in the forward pass and backward only scales them. What
    smoothing adds is linear in z: it is summed over words through W once, instead of over all logits. `shares`, where
    given, multiply the rows' losses.

    With W the identity, z = (ln 3, 0), label 0 and e = 0.2: p = (3/4, 1/4), the loss is ln 4 - 0.8 ln 3 - 0.1 ln 3 and
    its derivative by z, and so by h, (0.75 - 0.8 - 0.1, 0.25 - 0.1):

        >>> hidden = torch.tensor([[3.0, 1.0]]).log().requires_grad_()
        >>> loss, _ = label_smoothed_nll(hidden, torch.eye(2), torch.tensor([0]), padding=-1, label_smoothing=0.2)
        >>> loss.backward()
        >>> round(loss.item(), 4), hidden.grad
        (0.3975, tensor([[-0.1500,  0.1500]]))
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, shares: Tensor | None, smoothing: float, train: bool
    ) -> Tensor:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        matrix = weight.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden, dtype=exact) if train else None
        weight_grad = torch.zeros_like(weight) if train else None
        total = hidden.new_zeros((), dtype=exact)
        rows = rows_at_a_time(weight)
        for start in range(0, len(labels), rows):
            chunk, label = hidden[start : start + rows], labels[start : start + rows]
            logits = (chunk @ matrix.T).to(exact)
            largest, chosen = logits.amax(1), logits.gather(1, label[:, None])[:, 0]
            # In place: `logits` is gone from here on. What the loss still needs of it, log sum exp z, is the largest
            # logit less the log of its probability, as p = exp(z - log sum exp z).
            p = torch.softmax(logits, 1, out=logits)
            # log sum exp z - (1 - e) z[label]; what is left of the loss, - e/V sum z, follows after the loop.
            losses = largest - p.amax(1).log() - (1 - smoothing) * chosen
            share = None if shares is None else shares[start : start + rows]
            total += losses.sum() if share is None else share @ losses
            if hidden_grad is not None and weight_grad is not None:
                # p becomes the derivative by the logits, but for - e/V, which follows after the loop for all rows at
                # once.
                p[torch.arange(len(p), device=p.device), label] -= 1 - smoothing
                if share is not None:
                    p *= share[:, None]
                slope = p.to(hidden.dtype)
                hidden_grad[start : start + rows] = slope @ matrix
                # `addmm_` needs one type for all; products in half precision are added into the float32 sum.
                if slope.dtype == exact:
                    weight_grad.addmm_(slope.T, chunk)
                else:
                    weight_grad += slope.T @ chunk
        # The part of the loss that is left, - e/V sum_v h W_v' = - e/V h (sum_v W_v)', summed over rows: by h it is the
        # same for every row, and by W the same for every word.
        spread = smoothing / len(weight)
        word_sum = weight.sum(0, dtype=exact)
        row_sum = hidden.sum(0, dtype=exact) if shares is None else shares @ hidden.to(exact)
        if hidden_grad is not None and weight_grad is not None:
            linear = spread * word_sum if shares is None else spread * shares[:, None] * word_sum
            ctx.save_for_backward(hidden_grad.sub_(linear), weight_grad.sub_(spread * row_sum))
            ctx.hidden_type = hidden.dtype
        return total - spread * (word_sum @ row_sum)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden_grad, weight_grad = ctx.saved_tensors
        # `grads[0]` is what the loop multiplies the sum by, such as 1 / (labels in the update).
        return (hidden_grad * grads[0]).to(ctx.hidden_type), weight_grad * grads[0], None, None, None, None


@torch.no_grad()
def sequence_nll(
    hidden: Float[Tensor, "batch target dim"],
    weight: Float[Tensor, "vocab dim"],
    labels: Int[Tensor, "batch target"],
    *,
    padding: int,
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood, in nats, of each row's labels under softmax(hidden weight'), padding left out.

    No gradient; in float32 at least; logits of a chunk of labels only are in memory.
    """
    mask = labels != padding
    rows = rows_at_a_time(weight)
    exact = torch.promote_types(hidden.dtype, torch.float32)
    chunks = zip(hidden[mask].split(rows), labels[mask].split(rows), strict=True)
    losses = [F.cross_entropy((states @ weight.T).to(exact), chunk, reduction="none") for states, chunk in chunks]
    # A mask picks and scatters in the same order, row by row, so each loss goes back to where its label stands.
    places = torch.zeros(labels.shape, dtype=exact, device=hidden.device)
    return places.masked_scatter_(mask, torch.cat(losses).to(exact)).sum(1)


def label_smoothed_nll(
    hidden: Float[Tensor, "*rows dim"],
    weight: Float[Tensor, "vocab dim"],
    labels: Int[Tensor, "*rows"],
    *,
    padding: int,
    label_smoothing: float = 0.0,
    shares: Float[Tensor, "*rows"] | None = None,
) -> Loss:
    """Negative log-likelihood, in nats, of the labels under softmax(hidden weight'), summed where they are no padding.

    Smoothing by e trains towards (1-e) onehot + e/V (Szegedy et al. 2016, section 7). Equal to
    `torch.nn.functional.cross_entropy(..., reduction="sum")`, but padding is left out before the product with the
    weights, and the logits are never all in memory. `shares`, which get no gradient, multiply the loss of each label.
    """
    mask = labels != padding
    hidden, labels = hidden[mask], labels[mask]
    if shares is not None:
        shares = shares[mask].to(torch.promote_types(hidden.dtype, torch.float32))
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden = hidden.to(dtype)
    train = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    with torch.autocast(hidden.device.type, enabled=False):
        total = _ProjectedNLL.apply(hidden, weight, labels, shares, label_smoothing, train)
    return Loss(total, labels.numel())  # type: ignore[arg-type]
