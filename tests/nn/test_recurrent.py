"""The SRU scan against its definition, and what SRU, GRU and LSTM layers promise alike."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from seqdistill.nn.recurrent import GRU, LSTM, SRU
from seqdistill.nn.sru_scan import sru_scan
from seqdistill.nn.ssru import SSRU

CELLS = {"sru": SRU, "ssru": SSRU, "gru": GRU, "lstm": LSTM}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def stepwise(projected, highway, recurrent, cell, padding, scale) -> tuple[Tensor, Tensor]:
    """Lei et al. (2018), written one time step after the other, gradients by autograd."""
    dim, hidden = cell.shape[-1], []
    for t in range(projected.shape[1]):
        candidate, forget, reset = (projected[:, t, :, i * dim : (i + 1) * dim] for i in range(3))
        skipped = projected[:, t, :, 3 * dim :] if highway is None else highway[:, t]
        forget = torch.sigmoid(forget + recurrent[:, None, 0] * cell)
        reset = torch.sigmoid(reset + recurrent[:, None, 1] * cell)
        cell = torch.where(padding[:, t, :, None], cell, forget * cell + (1 - forget) * candidate)
        hidden.append(reset * cell + (1 - reset) * skipped * scale)
    return torch.stack(hidden, 1), cell


def scan_inputs(directions: int, matrices: int) -> list[Tensor]:
    time, batch, dim = 4, 3, 2
    shapes = [(directions, time, batch, matrices * dim), (directions, 2, dim), (directions, batch, dim)]
    if matrices == 3:
        shapes.append((directions, time, batch, dim))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("matrices", [3, 4])
@pytest.mark.parametrize("scale", [1.0, 1.7])
@pytest.mark.parametrize("padded", [False, True])
def test_scan_is_the_stepwise_recurrence(directions: int, matrices: int, scale: float, padded: bool) -> None:
    inputs = scan_inputs(directions, matrices)
    projected, recurrent, initial, *rest = inputs
    highway = rest[0] if rest else None
    padding = torch.rand(projected.shape[:3]) < (0.4 if padded else 0)

    def scan(projected, recurrent, initial, highway=None):
        return sru_scan(projected, highway, recurrent, initial, padding=padding if padded else None, scale=scale)

    hidden, final = scan(*inputs)
    expected_hidden, expected_final = stepwise(projected, highway, recurrent, initial, padding, scale)
    torch.testing.assert_close(hidden, expected_hidden)
    torch.testing.assert_close(final, expected_final)
    weights = torch.randn_like(hidden), torch.randn_like(final)
    gradients = torch.autograd.grad((hidden, final), inputs, weights)
    expected = torch.autograd.grad((expected_hidden, expected_final), inputs, weights)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(scan, inputs)


def test_scan_of_one_step_and_of_only_one_used_output() -> None:
    projected, recurrent, initial, highway = scan_inputs(1, 3)
    no_padding = torch.zeros(1, 1, 3, dtype=torch.bool)
    for output in range(2):
        found = sru_scan(projected[:, :1], highway[:, :1], recurrent, initial)[output]
        wanted = stepwise(projected[:, :1], highway[:, :1], recurrent, initial, no_padding, 1.0)[output]
        torch.testing.assert_close(found, wanted)
        for tensor in (projected, recurrent, initial):
            torch.testing.assert_close(
                torch.autograd.grad(found.sum(), tensor, retain_graph=True),
                torch.autograd.grad(wanted.sum(), tensor, retain_graph=True),
            )


def test_scan_computes_half_precision_in_single() -> None:
    projected, recurrent, initial, highway = (x.detach().bfloat16() for x in scan_inputs(1, 3))
    hidden, final = sru_scan(projected, highway, recurrent, initial)
    assert hidden.dtype == final.dtype == torch.float32
    torch.testing.assert_close(hidden, sru_scan(*(x.float() for x in (projected, highway, recurrent, initial)))[0])


def test_sru_by_hand() -> None:
    """Two steps of width one: f1 = r1 = s(0) = 1/2; the second step's gates see c1, not c2."""
    sru = SRU(1, 1)
    with torch.no_grad():
        sru.weight.copy_(torch.tensor([[[2.0, 0.0, 0.0]]]))  # W, Wf, Wr
        sru.recurrent.copy_(torch.tensor([[[1.0], [3.0]]]))
        sru.bias.zero_()
    hidden, final = sru(torch.tensor([[[1.0]], [[2.0]]]))
    first = 0.5 * 0 + 0.5 * 2.0
    forget, reset = 1 / (1 + math.exp(-first)), 1 / (1 + math.exp(-3 * first))
    second = forget * first + (1 - forget) * 4.0
    assert hidden.flatten().tolist() == pytest.approx([0.5 * first + 0.5 * 1.0, reset * second + (1 - reset) * 2.0])
    assert final.item() == pytest.approx(second)


def test_rescaled_sru_lets_more_of_its_input_through() -> None:
    sru = SRU(4, 4, highway_bias=-1.0, rescale=True)
    assert sru.scale == pytest.approx(math.sqrt(1 + 2 * math.exp(-1)))
    assert sru.bias[0, 1].tolist() == [-1.0] * 4 and not sru.bias[0, 0].any()
    plain = SRU(4, 4, highway_bias=-1.0)
    plain.load_state_dict(sru.state_dict())
    inputs = torch.randn(1, 2, 4)
    reset = torch.sigmoid(inputs @ sru.weight[0, :, 8:] - 1)
    difference = sru(inputs)[0] - plain(inputs)[0]
    torch.testing.assert_close(difference, (1 - reset) * inputs * (sru.scale - 1))


def test_parameters_of_an_sru() -> None:
    def count(layer: nn.Module) -> int:
        return sum(weight.numel() for weight in layer.parameters())

    assert count(SRU(512, 512)) == 3 * 512**2 + 4 * 512
    assert count(SRU(256, 512)) == 4 * 256 * 512 + 4 * 512
    assert count(SRU(256, 512, bidirectional=True)) == 2 * (3 * 256**2 + 4 * 256)
    assert count(SRU(512, 512, bidirectional=True)) == 2 * (4 * 512 * 256 + 4 * 256)


@pytest.mark.parametrize(("cell", "module"), [(GRU, nn.GRU), (LSTM, nn.LSTM)])
def test_gru_and_lstm_are_torchs(cell: type, module: type) -> None:
    ours, theirs = cell(3, 8, bidirectional=True), module(3, 4, bidirectional=True)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    inputs, initial = torch.randn(5, 2, 3), torch.randn(2, ours.states, 8)
    start = initial.unflatten(2, (2, 4)).permute(1, 2, 0, 3)  # (states, directions, batch, part)
    hidden, final = theirs(inputs, tuple(start) if cell is LSTM else start[0])
    found, found_final = ours(inputs, initial)
    torch.testing.assert_close(found, hidden)
    final = torch.stack(final) if cell is LSTM else final[None]
    torch.testing.assert_close(found_final, final.permute(2, 0, 1, 3).flatten(2))


@pytest.mark.parametrize("cell", CELLS)
class TestEveryCell:
    def test_each_direction_reads_its_own_way(self, cell: str) -> None:
        """The second half of a bidirectional layer is a one-way layer over the reversed sentence."""
        layer, one_way = CELLS[cell](3, 8, bidirectional=True), CELLS[cell](3, 4)
        for direction in range(2):
            if cell in ("sru", "ssru"):
                weights = {name: weight[direction : direction + 1] for name, weight in layer.state_dict().items()}
            else:
                weights = {name: layer.state_dict()[name + "_reverse" * direction] for name in one_way.state_dict()}
            one_way.load_state_dict(weights)
            inputs = torch.randn(5, 2, 3)
            hidden, final = layer(inputs)
            expected, expected_final = one_way(inputs.flip(0) if direction else inputs)
            half = slice(4 * direction, 4 * direction + 4)
            torch.testing.assert_close(hidden[..., half], expected.flip(0) if direction else expected)
            torch.testing.assert_close(final[..., half], expected_final)

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_padding_changes_nothing(self, cell: str, bidirectional: bool) -> None:
        layer = CELLS[cell](3, 8, bidirectional=bidirectional)
        lengths = [5, 2, 4, 1]
        inputs = torch.randn(7, 4, 3)
        padding = torch.arange(7)[:, None] >= torch.tensor(lengths)
        hidden, final = layer(inputs, None, padding)
        for row, length in enumerate(lengths):
            alone, final_alone = layer(inputs[:length, row : row + 1])
            torch.testing.assert_close(hidden[:length, row], alone[:, 0])
            torch.testing.assert_close(final[row], final_alone[0])

    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_no_gradient_comes_from_padding(self, cell: str, bidirectional: bool) -> None:
        layer = CELLS[cell](3, 8, bidirectional=bidirectional)
        inputs = torch.randn(6, 2, 3, requires_grad=True)
        padding = torch.arange(6)[:, None] >= torch.tensor([6, 3])
        hidden, final = layer(inputs, None, padding)
        (hidden.masked_fill(padding[..., None], 0).square().sum() + final.square().sum()).backward()
        assert inputs.grad is not None
        assert (inputs.grad[3:, 1] == 0).all() and (inputs.grad[:3, 1] != 0).all()

    def test_in_steps_as_in_one_go(self, cell: str) -> None:
        layer = CELLS[cell](3, 8)
        inputs, state = torch.randn(6, 2, 3), torch.randn(2, CELLS[cell].states, 8)
        hidden, final = layer(inputs, state)
        outputs = []
        for start, end in pairwise([0, 1, 2, 5, 6]):
            output, state = layer(inputs[start:end], state)
            outputs.append(output)
        torch.testing.assert_close(torch.cat(outputs), hidden)
        torch.testing.assert_close(state, final)

    def test_autocast_stays_close(self, cell: str) -> None:
        layer, inputs = CELLS[cell](16, 16), torch.randn(3, 2, 16, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            hidden, _ = layer(inputs)
        hidden.float().sum().backward()
        torch.testing.assert_close(hidden.float(), layer(inputs)[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("cell", [SRU, SSRU, GRU, LSTM])
@pytest.mark.parametrize("input_dim", [6, 8])
def test_steps_one_by_one_are_the_whole_sequence(cell: type, input_dim: int) -> None:
    gates = {"highway_bias": -1.0, "rescale": True} if cell is SRU else {}
    layer, inputs = cell(input_dim, 8, **gates), torch.randn(5, 3, input_dim)
    state = torch.randn(3, layer.states, 8)
    hidden, final = layer(inputs, state)
    for position, row in enumerate(inputs):
        step, state = layer.step(row, state)
        torch.testing.assert_close(step, hidden[position])
    torch.testing.assert_close(state, final)
