"""Schedules, Adam, clipping, device and precision against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from seqdistill.errors import UserError
from seqdistill.training import optim
from seqdistill.training.optim import (
    SCHEDULES,
    adam,
    choose_device,
    choose_precision,
    divide_and_clip,
    learning_rate,
    step,
)


@pytest.mark.parametrize(
    ("schedule", "update", "factor"),
    [
        ("inverse-sqrt", 100, 1.0),
        ("inverse-sqrt", 400, 0.5),
        ("inverse-sqrt", 10_000, 0.1),
        ("constant", 100, 1.0),
        ("constant", 1100, 1.0),
        ("linear", 101, 0.999),
        ("linear", 600, 0.5),
        ("linear", 1100, 0.0),
        ("cosine", 600, 0.5),
        ("cosine", 350, 0.5 * (1 + math.sqrt(0.5))),
        ("cosine", 1100, 0.0),
    ],
)
def test_schedule_at_points_known_in_closed_form(schedule: str, update: int, factor: float) -> None:
    rate = learning_rate(update, peak=4.0, warmup=100, schedule=schedule, max_updates=1100)
    assert rate == pytest.approx(4.0 * factor, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_linearly_to_the_peak_and_nothing_is_above_it(schedule: str) -> None:
    def rate(update: int) -> float:
        return learning_rate(update, peak=1.0, warmup=10, schedule=schedule, max_updates=50)

    assert [rate(update) for update in range(1, 11)] == pytest.approx([update / 10 for update in range(1, 11)])
    assert all(rate(update + 1) <= rate(update) for update in range(10, 50))


def test_without_warm_up_inverse_sqrt_starts_at_the_peak() -> None:
    rates = [learning_rate(u, peak=2.0, warmup=0, schedule="inverse-sqrt", max_updates=9) for u in (1, 4)]
    assert rates == [2.0, 1.0]


def test_the_peak_of_the_imitation_paper_is_its_scale() -> None:
    """Lin et al. 2020 give a base rate of 0.1 and warm-up 5,000 for base * min(u^-.5, u * warmup^-1.5)."""
    peak = 0.1 * 5000**-0.5
    for update in (1, 2500, 5000, 20_000):
        theirs = 0.1 * min(update**-0.5, update * 5000**-1.5)
        ours = learning_rate(update, peak=peak, warmup=5000, schedule="inverse-sqrt", max_updates=10**6)
        assert ours == pytest.approx(theirs)


def test_adam_on_a_quadratic_is_the_published_recursion() -> None:
    parameter = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer = adam([parameter], weight_decay=0.1)
    x, m, v = [3.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 6):
        rate = 0.1 / t
        (0.5 * (parameter * torch.tensor([1.0, 10.0])).pow(2)).sum().backward()
        step(optimizer, rate)
        for i, curvature in enumerate((1.0, 100.0)):
            gradient = curvature * x[i]
            m[i] = 0.9 * m[i] + 0.1 * gradient
            v[i] = 0.98 * v[i] + 0.02 * gradient**2
            x[i] -= rate * 0.1 * x[i]
            x[i] -= rate * (m[i] / (1 - 0.9**t)) / (math.sqrt(v[i] / (1 - 0.98**t)) + 1e-8)
    assert parameter.tolist() == pytest.approx(x, rel=1e-10)
    assert parameter.grad is None


def _parameters(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return parameters


@pytest.mark.parametrize(("clip_norm", "factor"), [(0.0, 0.1), (13.0, 0.1), (1.3, 0.1), (0.65, 0.05)])
def test_gradients_are_divided_by_labels_then_clipped(clip_norm: float, factor: float) -> None:
    parameters = _parameters([3.0, 4.0], [12.0])  # the norm is 13
    assert divide_and_clip(parameters, count=10.0, clip_norm=clip_norm) == pytest.approx(1.3)
    flat = [value for parameter in parameters for value in parameter.grad.tolist()]  # type: ignore[union-attr]
    assert flat == pytest.approx([3.0 * factor, 4.0 * factor, 12.0 * factor])


def test_bfloat16_is_never_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: False)
    assert choose_precision("auto", cpu) == choose_precision("float32", cpu) == torch.float32
    with pytest.raises(UserError, match=r"this cpu has no bfloat16 .* give precision 'auto' or 'float32'"):
        choose_precision("bfloat16", cpu)
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    assert choose_precision("bfloat16", cpu) == torch.bfloat16
    assert choose_precision("float32", cpu) == torch.float32


def test_auto_is_bfloat16_on_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    assert choose_precision("auto", torch.device("cuda")) == torch.bfloat16
    assert choose_precision("auto", torch.device("cpu")) == torch.float32


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name, message in (("gpu", "unknown device 'gpu'; give cpu"), ("meta", "'meta' is not supported")):
        with pytest.raises(UserError, match=message):
            choose_device(name)
    with pytest.raises(UserError, match=r"'cuda:99': torch sees \d+ GPUs here; give cpu or auto"):
        choose_device("cuda:99")
