"""Dropout: rates, means, gradients through the same mask, and draws that the global generator decides."""

import pytest
import torch

from seqdistill.nn.dropout import add_dropped, dropout, relu_dropped

RATES = (0.1, 0.3, 0.5)


@pytest.mark.parametrize("rate", RATES)
def test_drops_at_the_rate_and_keeps_the_mean(rate: float) -> None:
    """A million draws: five standard errors, plus the rounding to 1/256."""
    torch.manual_seed(1)
    dropped = dropout(torch.ones(1000, 1000), rate, training=True)
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 1e6) ** 0.5 + 1 / 512)
    assert dropped.mean().item() == pytest.approx(1, abs=5 * (rate / (1 - rate) / 1e6) ** 0.5 + 1e-4)
    assert dropped.unique().numel() == 2


def test_elements_are_dropped_independently() -> None:
    """Of neighbours at every distance up to two draws of 64 bits, as many are dropped together as chance says."""
    torch.manual_seed(1)
    gone = (dropout(torch.ones(1_000_000), 0.5, training=True) == 0).float() - 0.5
    for distance in range(1, 17):
        assert abs((gone[distance:] * gone[:-distance]).mean().item()) < 0.25 * 5 / 1000


@pytest.mark.parametrize("rate", RATES)
def test_gradients_go_through_the_same_mask(rate: float) -> None:
    x, change = torch.randn(50, 7, requires_grad=True), torch.randn(50, 7, requires_grad=True)
    out, weight = add_dropped(x, change, rate, training=True), torch.randn(50, 7)
    factor = ((out - x) / change).detach()
    out.mul(weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)
    torch.testing.assert_close(change.grad, weight * factor, rtol=1e-3, atol=1e-4)
    assert 0 < (change.grad == 0).sum() < 350


def test_relu_and_its_gradient() -> None:
    x = torch.randn(40, 25, requires_grad=True)
    weight, scale = torch.randn(40, 25), 256 / (256 - 26)
    out = relu_dropped(x * 1, 0.1, training=True)
    kept = out > 0
    torch.testing.assert_close(out, torch.where(kept, x * scale, 0.0))
    assert not (kept & (x <= 0)).any() and 0 < ((x > 0) & ~kept).sum() < 150
    out.mul(weight).sum().backward()
    torch.testing.assert_close(x.grad, torch.where(kept, weight * scale, 0.0))


def test_gradcheck() -> None:
    x, change = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def seeded(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        summed = add_dropped(dropout(tensors[0], 0.3, training=True), tensors[1], 0.5, training=True)
        return relu_dropped(summed, 0.2, training=True)

    assert torch.autograd.gradcheck(seeded, (x, change))


def test_the_global_generator_decides() -> None:
    x = torch.ones(100)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(torch.stack([dropout(x, 0.5, training=True) for _ in range(2)]))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_nothing_is_dropped_in_evaluation_or_at_rate_0() -> None:
    x, y = torch.randn(9), torch.randn(9)
    for rate, training in ((0.5, False), (0.0, True)):
        before = torch.get_rng_state()
        assert torch.equal(dropout(x, rate, training=training), x)
        assert torch.equal(add_dropped(x, y, rate, training=training), x + y)
        assert torch.equal(relu_dropped(x.clone(), rate, training=training), x.clamp(min=0))
        assert torch.equal(torch.get_rng_state(), before)
