"""Flows: there and back, log-determinants against autograd's Jacobian, padding, fitting to data."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from seqdistill.nn.flow_layers import ActNorm, AffineCoupling, Condition, CouplingSizes, InvertibleHeads
from seqdistill.nn.flows import MultiScaleFlow, squeeze, unsqueeze

DIM, MEMORY = 8, 6
SIZES = CouplingSizes(memory_dim=MEMORY, ffn_dim=12, heads=2)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def condition(*lengths: int, width: int | None = None) -> Condition:
    """Targets of these lengths; sources of 3 positions, the second row's last one padding."""
    mask = torch.arange(width or max(lengths)) < torch.tensor(lengths)[:, None]
    memory_mask = torch.ones(len(lengths), 3, dtype=torch.bool)
    memory_mask[1:2, 2] = False
    return Condition(mask, torch.randn(len(lengths), 3, MEMORY, dtype=torch.float64), memory_mask)


def shaken(layer: nn.Module) -> nn.Module:
    """In float64, with random parameters, so that nothing is the identity."""
    for weight in layer.double().parameters():
        nn.init.normal_(weight, std=0.3)
    return layer


def layers() -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {"actnorm": ActNorm(DIM)}
    for interleaved in (False, True):
        found[f"heads, interleaved={interleaved}"] = InvertibleHeads(DIM, 2, interleaved=interleaved)
    for pattern, second in itertools.product(("halves", "alternating", "time"), (True, False)):
        found[f"coupling, {pattern}, second={second}"] = AffineCoupling(DIM, SIZES, pattern, second=second)  # type: ignore[arg-type]
    steps = {"one level": (1,), "two levels": (1, 1), "three levels": (1, 1, 1)}
    return found | {name: MultiScaleFlow(DIM, counts, SIZES, heads=2) for name, counts in steps.items()}


LAYERS = list(layers())


def jacobian_log_det(layer: nn.Module, x: Tensor, given: Condition) -> float:
    """log |det| of the real positions of a single sentence, from autograd."""
    mask = given.mask[0]
    jacobian = torch.autograd.functional.jacobian(lambda each: layer(each, given)[0], x)
    kept = jacobian[0][mask][:, :, 0][:, :, mask].flatten(2).flatten(0, 1)
    return float(torch.linalg.slogdet(kept).logabsdet)


@pytest.mark.parametrize("name", LAYERS)
class TestEveryLayer:
    def test_inverse_undoes_forward_and_their_log_determinants_cancel(self, name: str) -> None:
        layer, given = shaken(layers()[name]), condition(8, 4, 4)
        x = torch.randn(3, 8, DIM, dtype=torch.float64)
        y, log_det = layer(x, given)
        back, log_det_back = layer.inverse(y, given)
        torch.testing.assert_close(back[given.mask], x[given.mask], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log_det_back, -log_det)
        assert not torch.allclose(y[given.mask], x[given.mask])

    def test_log_determinant_is_that_of_the_jacobian(self, name: str) -> None:
        """With padding, which does not count."""
        layer, given = shaken(layers()[name]), condition(4, width=8)
        x = torch.randn(1, 8, DIM, dtype=torch.float64)
        assert layer(x, given)[1].item() == pytest.approx(jacobian_log_det(layer, x, given), abs=1e-9)

    def test_padding_and_neighbours_change_nothing(self, name: str) -> None:
        layer, given = shaken(layers()[name]), condition(8, 4)
        x = torch.randn(2, 8, DIM, dtype=torch.float64)
        for go in (layer, layer.inverse):
            y, log_det = go(x, given)
            alone = Condition(given.mask[1:, :4], given.memory[1:, :2], given.memory_mask[1:, :2])
            y_alone, log_det_alone = go(x[1:, :4], alone)
            torch.testing.assert_close(y_alone, y[1:, :4])
            torch.testing.assert_close(log_det_alone, log_det[1:])

    def test_gradients(self, name: str) -> None:
        """Of latent variables and source, against finite differences."""
        layer, given = shaken(layers()[name]), condition(4, width=4)
        x = torch.randn(1, 4, DIM, dtype=torch.float64, requires_grad=True)
        memory = given.memory.requires_grad_()

        def applied(x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
            return layer(x, given._replace(memory=memory))

        assert torch.autograd.gradcheck(applied, (x, memory), fast_mode=True)


def test_interleaved_heads_mix_what_neighbouring_heads_keep_apart() -> None:
    given = condition(1)
    x = torch.eye(DIM, dtype=torch.float64)[:, None]
    given = Condition(given.mask.expand(DIM, 1), given.memory.expand(DIM, 3, MEMORY), given.memory_mask.expand(DIM, 3))
    for interleaved, same in ((False, lambda i, j: i // 4 == j // 4), (True, lambda i, j: i % 2 == j % 2)):
        matrix = shaken(InvertibleHeads(DIM, 2, interleaved=interleaved))(x, given)[0][:, 0]
        expected = torch.tensor([[same(i, j) for j in range(DIM)] for i in range(DIM)])
        assert torch.equal(matrix != 0, expected)


def test_couplings_read_the_source() -> None:
    coupling, given = shaken(AffineCoupling(DIM, SIZES, "halves", second=True)), condition(4)
    x = torch.randn(1, 4, DIM, dtype=torch.float64)
    other = given._replace(memory=given.memory + 1)
    assert not torch.allclose(coupling(x, given)[0], coupling(x, other)[0])


@pytest.mark.parametrize(
    ("pattern", "second", "changed"),
    [
        ("halves", True, lambda t, d: d >= DIM // 2),
        ("halves", False, lambda t, d: d < DIM // 2),
        ("alternating", True, lambda t, d: d % 2 == 1),
        ("alternating", False, lambda t, d: d % 2 == 0),
        ("time", True, lambda t, d: t % 2 == 1),
        ("time", False, lambda t, d: t % 2 == 0),
    ],
)
def test_which_part_a_coupling_changes(pattern, second: bool, changed) -> None:
    coupling, given = shaken(AffineCoupling(DIM, SIZES, pattern, second=second)), condition(4)
    x = torch.randn(1, 4, DIM, dtype=torch.float64)
    expected = torch.tensor([[changed(t, d) for d in range(DIM)] for t in range(4)])
    assert torch.equal((coupling(x, given)[0] != x)[0], expected)


def test_a_new_coupling_scales_by_sigmoid_of_two_and_shifts_by_nothing() -> None:
    coupling, given = AffineCoupling(DIM, SIZES, "halves", second=True).double(), condition(3)
    x = torch.randn(1, 3, DIM, dtype=torch.float64)
    y, log_det = coupling(x, given)
    scale = 1 / (1 + math.exp(-2))
    torch.testing.assert_close(y[..., DIM // 2 :], x[..., DIM // 2 :] * scale)
    assert log_det.item() == pytest.approx(3 * DIM / 2 * math.log(scale))


def test_squeezing_joins_neighbours() -> None:
    x = torch.arange(16.0).view(1, 4, 4)
    assert squeeze(x)[0].tolist() == [list(range(8)), list(range(8, 16))]
    assert torch.equal(unsqueeze(squeeze(x)), x)


@pytest.mark.parametrize(("steps", "unit"), [((1,), 1), ((2, 1), 2), ((4, 4, 2), 4)])
def test_lengths_are_multiples_of_the_unit(steps: tuple[int, ...], unit: int) -> None:
    assert MultiScaleFlow(DIM, steps, SIZES, heads=2).unit == unit


def test_density_sums_to_one() -> None:
    """exp(log_prob) of a single position of four dimensions, integrated by importance sampling from a wide normal."""
    flow = MultiScaleFlow(4, (1,), SIZES._replace(heads=1), heads=1).double()
    with torch.no_grad():
        for weight in flow.parameters():
            weight += 0.2 * torch.randn_like(weight)
    count, spread = 20_000, 4.0
    z = torch.randn(count, 1, 4, dtype=torch.float64) * spread
    one = condition(1)
    given = Condition(one.mask.expand(count, 1), one.memory.expand(count, 3, MEMORY), one.memory_mask.expand(count, 3))
    proposal = torch.distributions.Normal(0.0, spread).log_prob(z).sum((1, 2))
    with torch.no_grad():
        weights = (flow.log_prob(z, given) - proposal).exp()
    error = float(weights.std()) / count**0.5
    assert error < 0.1
    assert float(weights.mean()) == pytest.approx(1.0, abs=4 * error)


def test_samples_have_the_density_that_is_claimed() -> None:
    """log_prob(inverse(noise)) = log-density of the noise - log |det| of the inverse."""
    flow, given = shaken(MultiScaleFlow(DIM, (1, 1), SIZES, heads=2)), condition(4, 2)
    noise = torch.randn(2, 4, DIM, dtype=torch.float64)
    z, log_det = flow.inverse(noise, given)
    normal = (torch.distributions.Normal(0.0, 1.0).log_prob(noise) * given.mask[..., None]).sum((1, 2))
    torch.testing.assert_close(flow.log_prob(z, given), normal - log_det)


class TestFitting:
    def test_an_actnorm_standardises_real_positions(self) -> None:
        norm, given = ActNorm(DIM).double(), condition(8, 4)
        x = torch.randn(2, 8, DIM, dtype=torch.float64) * 5 + 3
        x[1, 4:] = 1e6
        norm.fit(x, given)
        y = norm(x, given)[0][given.mask]
        torch.testing.assert_close(y.mean(0), torch.zeros(DIM, dtype=torch.float64))
        torch.testing.assert_close(y.var(0, correction=0), torch.ones(DIM, dtype=torch.float64))
        assert not norm(x, given)[0][1, 4:].any()

    def test_every_actnorm_of_a_flow_is_fitted_to_what_reaches_it(self) -> None:
        flow, given = MultiScaleFlow(DIM, (2, 1), SIZES, heads=2).double(), condition(8, 4, 4)
        x = torch.randn(3, 8, DIM, dtype=torch.float64) * 7 - 2
        flow.fit(x, given)
        seen = []
        for module in flow.modules():
            if isinstance(module, ActNorm):
                module.register_forward_hook(lambda _, inputs, output: seen.append(output[0][inputs[1].mask]))
        flow(x, given)
        assert len(seen) == 2 * 6 + 4
        for y in seen:
            torch.testing.assert_close(y.mean(0), torch.zeros_like(y[0]), atol=1e-6, rtol=0)
            torch.testing.assert_close(y.std(0, correction=0), torch.ones_like(y[0]), atol=1e-6, rtol=0)

    def test_fitting_again_does_the_same(self) -> None:
        """Nothing of an earlier fit is left; no hook stays."""
        flow, given = MultiScaleFlow(DIM, (1,), SIZES, heads=2).double(), condition(4, 4)
        x = torch.randn(2, 4, DIM, dtype=torch.float64)
        flow.fit(x, given)
        before = {name: weight.clone() for name, weight in flow.state_dict().items()}
        flow.fit(x * 9 + 1, given)
        flow(x, given)
        assert not torch.equal(flow.levels[0][0].shift, before["levels.0.0.shift"])
        flow.fit(x, given)
        for name, weight in flow.state_dict().items():
            torch.testing.assert_close(weight, before[name])

    def test_a_constant_dimension_is_not_blown_up(self) -> None:
        norm, given = ActNorm(DIM).double(), condition(1)
        norm.fit(torch.full((1, 1, DIM), 4.0, dtype=torch.float64), given)
        assert float(norm.log_scale.detach().exp().max()) == pytest.approx(100)
        y, _ = norm(torch.full((1, 1, DIM), 4.0, dtype=torch.float64), given)
        torch.testing.assert_close(y, torch.zeros_like(y))


def test_under_autocast_latent_variables_stay_float32_and_come_back() -> None:
    """Only scales and shifts are bfloat16's, and those are nearly the same on the way back: what they are made of
    differs in the last bits, which now and then rounds to another bfloat16. The tolerance holds for most draws, so one
    is given."""
    torch.manual_seed(1)
    flow, given = shaken(MultiScaleFlow(DIM, (1, 1), SIZES, heads=2)).float(), condition(4, 2)
    given = given._replace(memory=given.memory.float())
    x = torch.randn(2, 4, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, log_det = flow(x, given)
        back, _ = flow.inverse(y, given)
    assert y.dtype == log_det.dtype == torch.float32
    torch.testing.assert_close(back[given.mask], x[given.mask], rtol=0.1, atol=0.1)
