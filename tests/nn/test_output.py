"""The output layer with bias and scale against torch's own linear map and losses, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from seqdistill.nn.divergences import Divergence, Projected, divergence_loss, most_probable
from seqdistill.nn.losses import label_smoothed_nll, sequence_nll
from seqdistill.nn.output import OutputLayer

KINDS = [(False, 1.0), (True, 1.0), (False, 0.3), (True, 0.3)]
VOCAB, DIM, PAD = 11, 6, 0


def made(bias: bool, scale: float) -> tuple[OutputLayer, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(7)
    layer = OutputLayer(VOCAB, bias=bias, scale=scale).double()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    hidden = torch.randn(3, 5, DIM, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCAB, DIM, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(1, VOCAB, (3, 5))
    labels[1, 3:] = PAD
    return layer, hidden, weight, labels


def by_hand(layer: OutputLayer, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    logits = torch.einsum("...d,vd->...v", hidden, weight) * layer.scale
    return logits if layer.bias is None else logits + layer.bias


@pytest.mark.parametrize(("bias", "scale"), KINDS)
class TestAgainstTorch:
    def test_logits(self, bias: bool, scale: float) -> None:
        layer, hidden, weight, _ = made(bias, scale)
        expected = by_hand(layer, hidden, weight)
        torch.testing.assert_close(layer(hidden, weight), expected)
        torch.testing.assert_close(layer.states(hidden) @ layer.weight(weight).T, expected)

    def test_smoothed_loss_and_its_gradients(self, bias: bool, scale: float) -> None:
        layer, hidden, weight, labels = made(bias, scale)
        parameters = [hidden, weight, *layer.parameters()]
        found = label_smoothed_nll(
            layer.states(hidden), layer.weight(weight), labels, padding=PAD, label_smoothing=0.1
        ).total
        expected = F.cross_entropy(
            by_hand(layer, hidden, weight).flatten(0, 1),
            labels.flatten(),
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=0.1,
        )
        torch.testing.assert_close(found, expected)
        for one, other in zip(
            torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
        ):
            torch.testing.assert_close(one, other)

    def test_divergence_and_its_gradients(self, bias: bool, scale: float) -> None:
        layer, hidden, weight, labels = made(bias, scale)
        parameters, mask = [hidden, weight, *layer.parameters()], labels != PAD
        teacher = Projected(torch.randn(13, 4, dtype=torch.float64), torch.randn(VOCAB, 4, dtype=torch.float64))
        student = Projected(layer.states(hidden)[mask], layer.weight(weight))
        found, _ = divergence_loss(student, [teacher], Divergence("forward-kl", 0.5, 2.0, 0))
        log_q = (by_hand(layer, hidden, weight)[mask] / 2).log_softmax(-1)
        log_p = (teacher.states @ teacher.weight.T / 2).log_softmax(-1)
        expected = 4 * F.kl_div(log_q, log_p, log_target=True, reduction="sum")
        torch.testing.assert_close(found, expected)
        for one, other in zip(
            torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
        ):
            torch.testing.assert_close(one, other)

    def test_best_word_and_likelihood_of_rows(self, bias: bool, scale: float) -> None:
        layer, hidden, weight, labels = made(bias, scale)
        logits = by_hand(layer, hidden, weight).detach()
        flat = Projected(layer.states(hidden).flatten(0, 1), layer.weight(weight))
        expected = logits.flatten(0, 1).index_fill(1, torch.tensor([0, 3]), -torch.inf).argmax(1)
        assert torch.equal(most_probable([flat], never=[0, 3]), expected)
        each = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=PAD, reduction="none").sum(1)
        torch.testing.assert_close(sequence_nll(layer.states(hidden), layer.weight(weight), labels, padding=PAD), each)


def test_without_bias_and_scale_nothing_is_copied() -> None:
    layer, hidden, weight, _ = made(bias=False, scale=1.0)
    assert layer.states(hidden) is hidden and layer.weight(weight) is weight and not layer.state_dict()
