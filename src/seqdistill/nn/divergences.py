"""Losses between a student's and a teacher's distribution over the vocabulary, in chunks, as a sum and a count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqdistill.nn.losses import CHUNK_ELEMENTS

DIVERGENCES = ("cross-entropy", "forward-kl", "reverse-kl", "js")
"""Of a teacher p and a student q: -sum p log q; KL(p, q); KL(q, p); generalized Jensen-Shannon, see `Divergence`."""


class Projected(NamedTuple):
    """A model's logits in two factors, states times the transpose of weight; multiplied a chunk of rows at a time."""

    states: Float[Tensor, "labels dim"]
    weight: Float[Tensor, "vocab dim"]


class Divergence(NamedTuple):
    """A divergence, and how the two distributions are changed before they are compared."""

    kind: str
    """A name of DIVERGENCES. With m = s p + (1-s) q and 0 < s < 1, "js" is KL(p, m) / (1-s) + KL(q, m) / s: the
    generalized Jensen-Shannon divergence s KL(p, m) + (1-s) KL(q, m) (Agarwal et al. 2024, eq. 1) over s (1-s), which
    goes to KL(p, q) as s goes to 0, and to KL(q, p) as s goes to 1. It is those two at 0 and at 1."""
    skew: float
    """s in "js"."""
    temperature: float
    """Both models' logits are divided by it, and the loss multiplied by its square (Hinton et al. 2015, section 2)."""
    top_k: int
    """Compare the teacher's k most probable tokens and, as one more event, all others together; 0: all tokens."""


class _Terms(NamedTuple):
    """A divergence D of events with probabilities p and q, one row each."""

    value: Float[Tensor, " rows"]
    """D."""
    slope: Float[Tensor, "rows events"]
    """q times dD/dq. A constant in dD/dq, such as the 1 of d(q ln q)/dq, is left out: `_value_and_slope` subtracts the
    mean of dD/dq under q, and any constant with it."""


def _terms(divergence: Divergence, log_p: Tensor, log_q: Tensor) -> _Terms:
    p, q, kind, skew = log_p.exp(), log_q.exp(), divergence.kind, divergence.skew
    if kind == "js" and skew in (0.0, 1.0):
        kind = "reverse-kl" if skew else "forward-kl"
    # D = -sum p ln q: dD/dq = -p/q, so q dD/dq = -p. KL(p, q) differs by the entropy of p, which has no q in it.
    if kind == "cross-entropy":
        return _Terms(-(p * log_q).sum(1), -p)
    if kind == "forward-kl":
        return _Terms((p * (log_p - log_q)).sum(1), -p)
    if kind == "reverse-kl":
        # D = sum q (ln q - ln p): dD/dq = ln q - ln p + 1, and the 1 is left out.
        slope = q * (log_q - log_p)
        return _Terms(slope.sum(1), slope)
    # D = KL(p, m) / (1-s) + KL(q, m) / s with dm/dq = 1-s: dD/dq = -p/m + (ln(q/m) + 1) / s - q (1-s) / (s m). The
    # first and last term add up to -(s p + (1-s) q) / (s m) = -1/s, which cancels the +1/s: ln(q/m) / s is left.
    log_m = torch.logaddexp(log_p + math.log(skew), log_q + math.log1p(-skew))
    slope = q * (log_q - log_m) / skew
    return _Terms((p * (log_p - log_m)).sum(1) / (1 - skew) + slope.sum(1), slope)


def _logits(states: Tensor, weight: Tensor, temperature: float) -> Tensor:
    logits = (states @ weight.T).to(torch.promote_types(states.dtype, torch.float32))
    # In place, as the product above is nobody else's.
    return logits.div_(temperature) if temperature != 1 else logits


def _log_probs(states: Tensor, weight: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(_logits(states, weight, temperature), 1)


def _mean_log_probs(teachers: Sequence[Projected], start: int, end: int, temperature: float) -> Tensor:
    """The log of the mean of the teachers' distributions for some rows."""
    each = [_log_probs(states[start:end], weight, temperature) for states, weight in teachers]
    # ln((p_1 + ... + p_n) / n) = logsumexp(ln p_1, ..., ln p_n) - ln n; a mean of logarithms would be another teacher.
    return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))


def _mean_probs(teachers: Sequence[Projected], start: int, end: int, temperature: float) -> Tensor:
    """The mean of the teachers' distributions for some rows."""
    each = [torch.softmax(_logits(states[start:end], weight, temperature), 1) for states, weight in teachers]
    return each[0] if len(each) == 1 else torch.stack(each).mean(0)


def _rest(log_top: Tensor) -> Tensor:
    """Appends the log-probability of all other events; at least the smallest float, as rounding may leave 0 or less."""
    tiny = torch.finfo(log_top.dtype).tiny
    rest = (1 - log_top.exp().sum(1, keepdim=True)).clamp(min=tiny).log()
    return torch.cat([log_top, rest], 1)  # (rows, k + 1)


def _value_and_slope(divergence: Divergence, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """The divergence of each row, and its derivative by the student's logits (before temperature).

    With q = softmax(z) and D a function of q: dD/dz_j = q_j (D_j - sum_i q_i D_i), where D_j = dD/dq_j.

    Of three words, top_k = 1 compares p = (.5, .3, .2) and q = (.4, .4, .2) as (.5, .5) and (.4, .6). The forward KL is
    .5 ln (.5/.4) + .5 ln (.5/.6), and D_j = -p/q = -.5/.4 of the first and -.5/.6 of each other word; their mean under
    q is -1, so the derivatives are .4 (1 - .5/.4), .4 (1 - .5/.6) and .2 (1 - .5/.6):

        >>> p, q = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.4, 0.4, 0.2]])
        >>> _value_and_slope(Divergence("forward-kl", 0.5, 1.0, 1), p.log(), q.log())
        (tensor([0.0204]), tensor([[-0.1000,  0.0667,  0.0333]]))
    """
    if not 0 < divergence.top_k < log_p.shape[1]:
        value, slope = _terms(divergence, log_p, log_q)
        # `slope` holds q_j D_j, so its sum is the mean of D_j under q.
        return value, slope - log_q.exp() * slope.sum(1, keepdim=True)
    # The teacher chooses the words, and the student is asked about the same ones: both then have k + 1 events.
    top, ids = log_p.topk(divergence.top_k, dim=1)
    log_events = _rest(log_q.gather(1, ids))
    value, slope = _terms(divergence, _rest(top), log_events)
    # Words outside the teacher's top are one event, whose probability is the sum of theirs: D_j of each is D of the
    # event, its slope over its probability. So they are pushed alike, in proportion to what the student gives them.
    q, total = log_q.exp(), slope.sum(1, keepdim=True)
    shared = slope[:, -1:] / log_events[:, -1:].exp()
    by_logit = q * (shared - total)
    return value, by_logit.scatter(1, ids, slope[:, :-1] - q.gather(1, ids) * total)


def _cross_entropy(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """`_value_and_slope` of the cross-entropy of all tokens; its derivative is q - p. Overwrites `log_q`."""
    # (rows, 1, vocab) @ (rows, vocab, 1): the sum over words without storing p * log_q.
    value = -torch.bmm(p[:, None], log_q[:, :, None]).flatten()
    return value, log_q.exp_().sub_(p)


class _ProjectedDivergence(torch.autograd.Function):
    """Output layers of both sides, softmax and divergence in one; gradients are made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, teachers: Sequence[Projected], divergence: Divergence, train: bool
    ) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        matrix, temperature = weight.to(hidden.dtype), divergence.temperature
        hidden_grad = torch.empty_like(hidden, dtype=exact) if train else None
        weight_grad = torch.zeros_like(weight) if train else None
        values = hidden.new_empty(len(hidden), dtype=exact)
        # Half as many rows as for one model: the student's and the teacher's logits are alive together.
        rows = max(1, CHUNK_ELEMENTS.get(hidden.device.type, CHUNK_ELEMENTS["cuda"]) // len(weight) // 2)
        for start in range(0, len(hidden), rows):
            end = start + rows
            chunk = hidden[start:end]
            log_q = _log_probs(chunk, matrix, temperature)
            if divergence.kind == "cross-entropy" and not divergence.top_k:
                value, slope = _cross_entropy(_mean_probs(teachers, start, end, temperature).to(exact), log_q)
            else:
                log_p = _mean_log_probs(teachers, start, end, temperature).to(exact)
                value, slope = _value_and_slope(divergence, log_p, log_q)
            values[start:end] = value * temperature**2
            if hidden_grad is not None and weight_grad is not None:
                # The loss has the factor temperature^2, and z / temperature the inner derivative 1 / temperature.
                slope = (slope * temperature).to(hidden.dtype)
                hidden_grad[start:end] = slope @ matrix
                weight_grad += slope.T @ chunk
        if hidden_grad is not None and weight_grad is not None:
            ctx.save_for_backward(hidden_grad, weight_grad)
            ctx.hidden_type = hidden.dtype
        # Only the sum carries a gradient; `values` are for the log, and their gradient, `grads[1]`, is not read.
        ctx.mark_non_differentiable(values)
        return values.sum(), values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden_grad, weight_grad = ctx.saved_tensors
        return (hidden_grad * grads[0]).to(ctx.hidden_type), weight_grad * grads[0], None, None, None


def divergence_loss(
    student: Projected, teachers: Sequence[Projected], divergence: Divergence
) -> tuple[Float[Tensor, ""], Float[Tensor, " labels"]]:
    """The divergence of the student's distribution from the mean of the teachers', in nats.

    Returns:
        The sum over labels, which carries the gradient to the student's states and weight, and each label's own.
    """
    states, weight = student
    if torch.is_autocast_enabled(states.device.type):
        states = states.to(torch.get_autocast_dtype(states.device.type))
    train = torch.is_grad_enabled() and (states.requires_grad or weight.requires_grad)
    with torch.autocast(states.device.type, enabled=False):
        return _ProjectedDivergence.apply(states, weight, teachers, divergence, train)  # type: ignore[return-value]


@torch.no_grad()
def most_probable(teachers: Sequence[Projected], *, never: Sequence[int]) -> Int[Tensor, " labels"]:
    """The token of highest mean probability for each label, none of `never`."""
    states, weight = teachers[0]
    chosen = torch.empty(len(states), dtype=torch.long, device=states.device)
    forbidden = torch.tensor(never, dtype=torch.long, device=states.device)
    rows = max(1, CHUNK_ELEMENTS.get(states.device.type, CHUNK_ELEMENTS["cuda"]) // len(weight))
    for start in range(0, len(states), rows):
        # Softmax keeps the order of logits, so one teacher needs none; a mean is over probabilities.
        if len(teachers) == 1:
            scores = states[start : start + rows] @ weight.T
        else:
            scores = _mean_log_probs(teachers, start, start + rows, 1.0)
        chosen[start : start + rows] = scores.index_fill(1, forbidden, -torch.inf).argmax(1)
    return chosen
