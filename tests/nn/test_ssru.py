"""The SSRU against its equations, one time step after the other; what all cells promise is in test_recurrent.py."""

import math

import pytest
import torch
from torch import Tensor

from seqdistill.nn.ssru import SSRU


def stepwise(layer: SSRU, inputs: Tensor, cell: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
    """f = s(Wf x + bf); c = f c' + (1 - f) W x; h = relu(c), of one direction; gradients by autograd."""
    candidate_weight, forget_weight = layer.weight[0].chunk(2, 1)
    hidden = []
    for x, padded in zip(inputs, padding, strict=True):
        forget = torch.sigmoid(x @ forget_weight + layer.bias[0])
        cell = torch.where(padded[:, None], cell, forget * cell + (1 - forget) * (x @ candidate_weight))
        hidden.append(cell.clamp(min=0))
    return torch.stack(hidden), cell


@pytest.mark.parametrize("time", [1, 5])
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_the_stepwise_recurrence(time: int, padded: bool) -> None:
    torch.manual_seed(0)
    layer = SSRU(4, 3).double()
    inputs, initial = (torch.randn(*shape, 3, dim).double() for shape, dim in (((time,), 4), ((), 3)))
    padding = torch.arange(time)[:, None] >= torch.tensor([time, time - padded, 1])
    leaves = [*layer.parameters(), inputs.requires_grad_(), initial.requires_grad_()]

    def scan(*_: Tensor) -> tuple[Tensor, Tensor]:
        return layer(inputs, initial[:, None], padding)

    hidden, final = scan()
    expected_hidden, expected_final = stepwise(layer, inputs, initial, padding)
    torch.testing.assert_close(hidden, expected_hidden)
    torch.testing.assert_close(final[:, 0], expected_final)
    weights = torch.randn_like(hidden), torch.randn_like(final)
    found = torch.autograd.grad((hidden, final), leaves, weights)
    wanted = torch.autograd.grad((expected_hidden, expected_final), leaves, (weights[0], weights[1][:, 0]))
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(scan, leaves)


def test_by_hand() -> None:
    """Two steps of width one: both gates are s(0) = 1/2, whatever the cell; a negative cell shows as 0, and stays."""
    layer = SSRU(1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[2.0, 0.0]]]))
    hidden, final = layer(torch.tensor([[[-1.0]], [[2.0]], [[-3.0]]]))
    assert hidden.flatten().tolist() == [0.0, 1.5, 0.0] and final.item() == -2.25
    with torch.no_grad():
        layer.bias.fill_(math.log(3))
    assert layer(torch.tensor([[[1.0]]]))[0].item() == pytest.approx(0.25 * 2)


def test_parameters() -> None:
    assert sum(weight.numel() for weight in SSRU(256, 512).parameters()) == 2 * 256 * 512 + 512
    assert sum(weight.numel() for weight in SSRU(256, 512, bidirectional=True).parameters()) == 2 * 256 * 512 + 512
