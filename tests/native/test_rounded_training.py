"""Training with `quantize` against the compiled engine: a rounded torch model computes what its int8 export does."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from compiled import Compiled, engine_sets
from left_to_right import MODELS, exported, model_of
from packing import quantized as quantized_by_numpy

from seqdistill.data.batches import Batch, collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.models.family import FAMILIES, exporter, resolved
from seqdistill.nn import losses
from seqdistill.nn.int8 import ProductInput, quantized, rounded, rounding
from seqdistill.options import DecodingOptions
from seqdistill.runtime.exporting.packing import packed_int8

AT_ONCE = ("nat", "inat", "cmlm", "inst", "levt")
EVERY = (*MODELS, *AT_ONCE)
ITERATIONS = DecodingOptions(beam=1, iterations=2)


def at_once(family: str) -> Any:
    """A random model whose words differ, and so do the iterations'."""
    torch.manual_seed(3)
    sizes = {"source_vocab": 90, "target_vocab": 90, "dim": 32, "ffn_dim": 48, "heads": 4, "tied": False}
    found = FAMILIES[family]
    model = resolved(found.model)(found.config(**sizes, encoder_layers=2, decoder_layers=2)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embedding" not in name and "feed_forward" not in name:
                weight.mul_(3)
    return model


def made(name: str) -> tuple[Any, str]:
    """The model and its family."""
    if name in AT_ONCE:
        return at_once(name), name
    return model_of(name), exported(model_of(name))[0]


def matrices(model: Any, family: str) -> list[torch.Tensor]:
    return [part.values for part in exporter(family, "compiled")(model) if part.matrix]


def rows(number: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(5, 90) for _ in range(draw.randint(1, 12))] for _ in range(number)]


def batch_of(number: int) -> Batch:
    return collate(list(zip(rows(number, 1), rows(number, 2), strict=True)))


@torch.no_grad()
def scores(model: Any, batch: Batch) -> np.ndarray:
    """Log-probability of each target."""
    log_probs = model(batch.source, batch.target).log_softmax(-1).gather(2, batch.target[..., None])[..., 0]
    return (log_probs * (batch.target != model.target_ids.pad)).sum(1).double().numpy()


def nearly_all_nearer(ours: np.ndarray, plain: np.ndarray, engines: np.ndarray) -> None:
    """Sums in another order differ by some 1e-6; seldom one of them changes a whole number that lay between two."""
    near, far = np.abs(ours - engines), np.abs(plain - engines)
    assert np.quantile(near, 0.75) < 2e-4 and near.mean() < far.mean() / 10 and far.mean() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_the_int8_engine(name: str) -> None:
    """Whole targets at once and word by word: both read every matrix of encoder, decoder and output layer."""
    model, family = made(name)
    sources, targets = rows(40, 1), rows(40, 2)
    engine = Compiled(model, exporter(family, "compiled")(model), family, precision="int8")
    plain = scores(model, batch_of(40))
    with rounding(model, matrices(model, family)):
        ours, loss = scores(model, batch_of(40)), model.loss(batch_of(40)).total.detach()
    nearly_all_nearer(ours, plain, np.array(engine.score(sources, targets)))
    assert float(loss) == pytest.approx(-ours.sum(), rel=1e-5)
    assert (scores(model, batch_of(40)) == plain).all(), "afterwards nothing is rounded"
    same(model, family, engine)


@pytest.mark.parametrize("family", AT_ONCE)
def test_outputs_are_those_of_the_int8_engine(family: str) -> None:
    model = at_once(family)
    same(model, family, Compiled(model, exporter(family, "compiled")(model), family, precision="int8"))


def same(model: Any, family: str, engine: Compiled) -> None:
    """Nearly all outputs are those of the engine, with their log-probabilities; of the model as it is, fewer are."""
    sources = rows(60, 5)
    options = ITERATIONS if family in ("inat", "cmlm", "inst", "levt") else DecodingOptions(beam=1, max_length=12)
    expected = [row[0] for row in engine.decode(sources, options)]

    def found() -> list[Any]:
        return [row[0] for row in decode(model, collate_sources(sources, model.source_ids), options)]

    plain = found()
    with rounding(model, matrices(model, family)):
        ours = found()
    equal = [one.tokens == other.tokens for one, other in zip(ours, expected, strict=True)]
    assert sum(equal) >= 54
    pairs = [(a, b, c) for a, b, c, e in zip(ours, plain, expected, equal, strict=True) if e and b.tokens == c.tokens]
    values = np.array([[each.log_prob for each in row] for row in pairs])
    nearly_all_nearer(*values.T)


@pytest.mark.parametrize("name", EVERY)
def test_whatever_is_exported_as_int8_is_rounded_bit_by_bit_and_given_back(name: str) -> None:
    model, family = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    packed = [packed_int8(matrix.numpy()) for matrix in matrices(model, family)]
    with rounding(model, matrices(model, family)):
        for matrix, (data, scale, _) in zip(matrices(model, family), packed, strict=True):
            assert scale is not None
            numbers = data.transpose(0, 2, 1, 3).reshape(len(scale), -1).astype(np.float32)
            outputs, inputs = matrix.shape
            assert (matrix.numpy() == numbers[:outputs, :inputs] * scale[:outputs, None]).all()
        inside = model.state_dict()
        assert list(inside) == list(before)
        changed = [key for key, value in inside.items() if not torch.equal(value, before[key])]
    after = model.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    # Nothing but matrices: a weight of two dimensions or more, but for the vectors of an SRU and what experts begin
    # with, and all of them.
    vectors = [key for key, value in before.items() if value.dim() < 2 or key.endswith(("recurrent", "bias", "starts"))]
    assert sorted([*changed, *vectors]) == sorted(before)


def test_inputs_are_rounded_as_the_kernels_round_them() -> None:
    """The kernels are compared with the same few lines of numpy (test_kernels.py)."""
    x = np.random.default_rng(1).normal(size=(200, 37)).astype(np.float32)
    x[0], x[1], x[2, 1:], x[3] = 0, 1e-31, 0, x[3] * 1e8
    numbers, scale = quantized_by_numpy(x)
    expected = numbers.astype(np.float32) * scale[:, None]
    expected[1] = 0
    assert (rounded(torch.from_numpy(x)).numpy() == expected).all()
    once = rounded(torch.from_numpy(x))
    torch.testing.assert_close(rounded(once), once, rtol=1e-6, atol=0)  # what is rounded stays, but for the last bit
    half = torch.from_numpy(x).bfloat16()
    assert rounded(half).dtype == torch.bfloat16
    assert torch.equal(rounded(half), rounded(half.float()).bfloat16())


def test_gradients_are_those_at_the_rounded_numbers() -> None:
    """Straight through: of y = r(x) r(W)', dy/dx is r(W) and dy/dW is r(x), at the parameter itself."""
    torch.manual_seed(1)
    layer, x = torch.nn.Linear(6, 5), torch.randn(3, 6, requires_grad=True)
    numbers, scale = quantized(layer.weight.detach())
    weight, read = numbers * scale, rounded(x.detach())
    slopes = torch.randn(3, 5)
    with rounding(layer, [layer.weight.detach()]):
        y = layer(x)
        y.backward(slopes)
    torch.testing.assert_close(y, read @ weight.T + layer.bias)
    torch.testing.assert_close(x.grad, slopes @ weight)
    torch.testing.assert_close(layer.weight.grad, slopes.T @ read)


@pytest.mark.parametrize("name", EVERY)
def test_every_weight_learns_and_what_enters_the_loss_is_rounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, family = made(name)
    seen, own = list[torch.Tensor](), losses._ProjectedNLL

    class Spy(own):
        @staticmethod
        def forward(ctx: Any, hidden: torch.Tensor, *others: Any) -> torch.Tensor:
            width = model.config.embedding_dim if family == "rnn" else model.config.dim
            seen.append(hidden[:, :width].detach())  # without the ones that meet the bias
            return own.forward(ctx, hidden, *others)

    monkeypatch.setattr(losses, "_ProjectedNLL", Spy)
    torch.manual_seed(2)
    with rounding(model.train(), matrices(model, family)):
        model.loss(batch_of(30), label_smoothing=0.1).total.backward()
    model.eval()
    assert seen
    for hidden in seen:
        torch.testing.assert_close(rounded(hidden), hidden, rtol=1e-5, atol=0)
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), key
    model.zero_grad()


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model, family = made("gru")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), rounding(model, matrices(model, family)):
        raise ZeroDivisionError
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module.rounds for module in model.modules() if isinstance(module, ProductInput))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_set_of_families_is_whole() -> None:
    engine_sets()
    runs = {family for family, each in FAMILIES.items() if "compiled" in each.exporters}
    assert {made(name)[1] for name in EVERY} == runs
