"""Learning rate, precision, Adam, clipping: the arithmetic of one update, each a function of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn

from seqdistill.errors import UserError

SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "inverse-sqrt": lambda update, warmup, _: math.sqrt(max(warmup, 1) / update),
    "constant": lambda _, __, ___: 1.0,
    "linear": lambda update, warmup, end: max(0.0, (end - update) / (end - warmup)),
    "wsd": lambda update, start, end: 1 - math.sqrt(max(0.0, update - start) / (end - start)),
    "cosine": lambda update, warmup, end: 0.5 * (1 + math.cos(math.pi * min(1.0, (update - warmup) / (end - warmup)))),
}
"""Factor of the highest learning rate, as a function of the update, the one it falls from, and the last update."""

BETAS, EPSILON = (0.9, 0.98), 1e-8
"""Adam's decay rates of the first and second moment, and the offset of its denominator (Vaswani et al. 2017, 5.3)."""


def learning_rate(update: int, *, peak: float, warmup: int, schedule: str, max_updates: int, stable: int = 0) -> float:
    """The learning rate of an update, counted from 1: linear warm-up to `peak`, then the schedule.

    inverse-sqrt is peak * sqrt(warmup / update) (Vaswani et al. 2017, eq. 3, rescaled so that its top is `peak`). wsd
    stays at `peak` up to the update `stable` and then falls to 0 as 1 - sqrt (Haegele et al. 2024, section 3).
    """
    if update <= warmup:
        return peak * update / warmup
    # Every factor is 1 where the warm-up ends; that of wsd stays so up to `stable`.
    return peak * SCHEDULES[schedule](update, stable if schedule == "wsd" else warmup, max_updates)


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    weight_decay: float,
    betas: tuple[float, float] = BETAS,
    slower: Collection[nn.Parameter] = (),
    factor: float = 1.0,
) -> torch.optim.AdamW:
    """Adam (Kingma and Ba 2015) with decoupled weight decay, in one fused pass over each parameter.

    The learning rate is set before every step. With weight_decay 0 it is Adam itself.

    Args:
        slower: those of the parameters whose learning rate is multiplied by `factor`.
    """
    few = set(slower)
    groups: list[dict[str, Any]] = [{"params": [], "factor": 1.0}, {"params": [], "factor": factor}]
    for parameter in parameters:
        groups[parameter in few]["params"].append(parameter)
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, lr=0.0, betas=betas, eps=EPSILON, weight_decay=weight_decay, fused=True)


def divide_and_clip(parameters: list[nn.Parameter], *, count: float, clip_norm: float) -> float:
    """Divides summed gradients by the number of labels, then scales them down to `clip_norm` if they are longer.

    Args:
        count: labels summed over the micro-batches and ranks of the update.
        clip_norm: largest Euclidean norm over all parameters together; 0 leaves the length alone.

    Returns:
        The norm before clipping, of the gradient per label.
    """
    # Divided and clipped in one pass: the norm of the divided gradients is that of the sums over the count.
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = float(nn.utils.get_total_norm(gradients)) / count
    clip = clip_norm / norm if clip_norm and norm > clip_norm else 1.0
    torch._foreach_mul_(gradients, clip / count)
    return norm


def check_finite(norm: float, update: int) -> None:
    """Raises UserError for a gradient that cannot be stepped along."""
    if not math.isfinite(norm):
        raise UserError(
            f"update {update}: the gradient is not finite; nothing of this update was kept. "
            "Lower learning_rate, lengthen warmup or set clip_norm"
        )


def step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Moves the parameters along their gradients at a learning rate, and drops the gradients."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    optimizer.step()
    optimizer.zero_grad()


def choose_device(name: str) -> torch.device:
    """The device called cpu, cuda, cuda:N, or, for auto, the GPU if there is one.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; give cpu, cuda, cuda:N or auto") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; give cpu, cuda, cuda:N or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: torch sees {torch.cuda.device_count()} GPUs here; give cpu or auto")
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively. Emulated, one product takes a hundred times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that matrix products are computed in; `auto` is bfloat16 on GPUs that compute it, float32 on all CPUs.

    Raises:
        UserError: bfloat16 was asked for and the device would emulate it.
    """
    if name == "float32" or (name == "auto" and (device.type == "cpu" or not computes_bfloat16(device))):
        return torch.float32
    if not computes_bfloat16(device):
        raise UserError(
            f"precision 'bfloat16': this {device.type} has no bfloat16 instructions and would emulate them about a "
            "hundred times slower; give precision 'auto' or 'float32'"
        )
    return torch.bfloat16
