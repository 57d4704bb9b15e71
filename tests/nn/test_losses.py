"""The fused output loss against a slow loop in float64, torch's cross-entropy, gradcheck; across chunks and padding."""

import math

import pytest
import torch
import torch.nn.functional as F

from seqdistill.nn import losses
from seqdistill.nn.losses import label_smoothed_nll


def slow_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: list[int], smoothing: float) -> float:
    """The definition, word by word: -sum_v q(v) log p(v), q = (1-e) onehot + e/V."""
    total = 0.0
    for row, label in zip(hidden.double(), labels, strict=True):
        if label == 0:
            continue
        logits = [float(row @ word) for word in weight.double()]
        log_normaliser = math.log(sum(math.exp(logit) for logit in logits))
        for word, logit in enumerate(logits):
            q = (1 - smoothing) * (word == label) + smoothing / len(logits)
            total -= q * (logit - log_normaliser)
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_is_the_definition(smoothing: float) -> None:
    hidden, weight, labels = torch.randn(7, 4), torch.randn(9, 4), [1, 8, 0, 3, 3, 0, 5]
    loss = label_smoothed_nll(hidden, weight, torch.tensor(labels), padding=0, label_smoothing=smoothing)
    assert loss.count == 5
    assert loss.total.item() == pytest.approx(slow_loss(hidden, weight, labels, smoothing), rel=1e-5)


def test_uniform_model_by_hand() -> None:
    """Equal logits cost log V a label, whatever the smoothing."""
    loss = label_smoothed_nll(
        torch.zeros(2, 3, 4), torch.randn(50, 4), torch.ones(2, 3, dtype=torch.long), padding=0, label_smoothing=0.2
    )
    assert loss.total.item() == pytest.approx(6 * math.log(50), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 60, 10**6])
def test_gradients_are_those_of_torchs_cross_entropy(monkeypatch, smoothing: float, chunk: int) -> None:
    """Also when the logits go through in chunks of one row, of three, and at once."""
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", chunk)
    hidden, weight = torch.randn(4, 5, 6, requires_grad=True), torch.randn(20, 6, requires_grad=True)
    labels = torch.randint(0, 20, (4, 5))
    found = label_smoothed_nll(hidden, weight, labels, padding=0, label_smoothing=smoothing)
    expected = F.cross_entropy(
        (hidden @ weight.T).flatten(0, 1),
        labels.flatten(),
        ignore_index=0,
        reduction="sum",
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found.total, expected)
    for ours, torchs in zip(
        torch.autograd.grad(3 * found.total, (hidden, weight)),
        torch.autograd.grad(3 * expected, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 60, 10**6])
def test_shares_multiply_the_losses_of_labels(monkeypatch, chunk: int) -> None:
    """Against torch's cross-entropy label by label, gradients too; the count stays that of the labels."""
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", chunk)
    hidden, weight = torch.randn(4, 5, 6, requires_grad=True), torch.randn(20, 6, requires_grad=True)
    labels, shares = torch.randint(0, 20, (4, 5)), torch.rand(4, 5)
    found = label_smoothed_nll(hidden, weight, labels, padding=0, label_smoothing=0.1, shares=shares)
    logits = (hidden @ weight.T).flatten(0, 1)
    each = F.cross_entropy(logits, labels.flatten(), ignore_index=0, reduction="none", label_smoothing=0.1)
    expected = each @ shares.flatten()
    torch.testing.assert_close(found.total, expected)
    assert found.count == int((labels != 0).sum())
    ours, torchs = (torch.autograd.grad(2 * total, (hidden, weight)) for total in (found.total, expected))
    torch.testing.assert_close(ours, torchs)


def test_gradcheck() -> None:
    hidden = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 0, 6, 2, 2])

    def total(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return label_smoothed_nll(hidden, weight, labels, padding=0, label_smoothing=0.1).total

    assert torch.autograd.gradcheck(total, (hidden, weight))


def test_survives_logits_that_overflow_exp() -> None:
    """The label 200 nats below the best word costs 200 nats."""
    weight = torch.tensor([[0.0], [200.0], [-300.0]])
    for label, cost in ((1, 0.0), (0, 200.0), (2, 500.0)):
        loss = label_smoothed_nll(torch.ones(1, 1), weight, torch.tensor([label]), padding=-1)
        assert loss.total.item() == pytest.approx(cost)


def test_without_gradients_none_are_made() -> None:
    hidden, weight, labels = torch.randn(3, 4), torch.randn(9, 4, requires_grad=True), torch.tensor([1, 2, 3])
    with torch.no_grad():
        quiet = label_smoothed_nll(hidden, weight, labels, padding=0)
    loud = label_smoothed_nll(hidden, weight, labels, padding=0)
    assert not quiet.total.requires_grad and loud.total.requires_grad
    assert quiet.total.item() == loud.total.item()


def test_only_padding_costs_nothing() -> None:
    loss = label_smoothed_nll(
        torch.randn(2, 3, requires_grad=True), torch.randn(5, 3), torch.zeros(2).long(), padding=0
    )
    loss.total.backward()
    assert loss.count == 0 and loss.total.item() == 0


def test_autocast_to_bfloat16_stays_near() -> None:
    hidden, weight = torch.randn(6, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    labels = torch.tensor([1, 2, 3, 4, 5, 6])
    exact = label_smoothed_nll(hidden, weight, labels, padding=0, label_smoothing=0.1).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = label_smoothed_nll(hidden, weight, labels, padding=0, label_smoothing=0.1).total
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.1)
    for ours, theirs in zip(
        torch.autograd.grad(rough, (hidden, weight)), torch.autograd.grad(exact, (hidden, weight)), strict=True
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
