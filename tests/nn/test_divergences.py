"""Divergences against a slow loop over positions and words in float64, by finite differences, and in limits."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqdistill.nn import divergences
from seqdistill.nn.divergences import DIVERGENCES, Divergence, Projected, divergence_loss, most_probable

VOCAB, LABELS = 7, 5


def divergence_of(
    kind: str = "cross-entropy", *, skew: float = 0.5, temperature: float = 1.0, top_k: int = 0
) -> Divergence:
    return Divergence(kind, skew, temperature, top_k)


KINDS = [divergence_of(kind) for kind in DIVERGENCES] + [
    divergence_of("js", skew=skew) for skew in (0.0, 0.1, 0.9, 1.0)
]
CASES = [
    kind._replace(temperature=temperature, top_k=top_k)
    for kind, temperature, top_k in itertools.product(KINDS, (1.0, 2.5), (0, 1, 3))
]


def projected(seed: int, dim: int, *, vocab: int = VOCAB, labels: int = LABELS) -> Projected:
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return Projected(make(labels, dim), make(vocab, dim))


def softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def slow(student: Projected, teachers: list[Projected], divergence: Divergence) -> list[float]:
    """Word by word, label by label, straight from the definitions."""
    found = []
    for label in range(len(student.states)):

        def distribution(model: Projected, label: int = label) -> list[float]:
            logits = [float(model.states[label] @ word) / divergence.temperature for word in model.weight]
            return softmax(logits)

        each = [distribution(teacher) for teacher in teachers]
        p = [sum(column) / len(each) for column in zip(*each, strict=True)]
        q = distribution(student)
        if divergence.top_k:
            top = sorted(range(len(p)), key=lambda word: -p[word])[: divergence.top_k]
            p, q = ([x[word] for word in top] + [1 - sum(x[word] for word in top)] for x in (p, q))
        s = divergence.skew
        kl = lambda a, b: sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))  # noqa: E731
        m = [s * x + (1 - s) * y for x, y in zip(p, q, strict=True)]
        value = {
            "cross-entropy": -sum(x * math.log(y) for x, y in zip(p, q, strict=True)),
            "forward-kl": kl(p, q),
            "reverse-kl": kl(q, p),
            "js": kl(p, q) if s == 0 else kl(q, p) if s == 1 else (s * kl(p, m) + (1 - s) * kl(q, m)) / (s * (1 - s)),
        }[divergence.kind]
        found.append(divergence.temperature**2 * value)
    return found


@pytest.mark.parametrize("divergence", CASES, ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_values_are_those_of_a_slow_loop(divergence: Divergence, count: int) -> None:
    student, teachers = projected(1, 3), [projected(seed, 4) for seed in range(2, 2 + count)]
    total, each = divergence_loss(student, teachers, divergence)
    expected = torch.tensor(slow(student, teachers, divergence), dtype=torch.float64)
    assert torch.allclose(each, expected, rtol=1e-9, atol=1e-12)
    assert torch.isclose(total, expected.sum())


@pytest.mark.parametrize("divergence", CASES, ids=str)
def test_gradients_are_those_of_finite_differences(divergence: Divergence, monkeypatch) -> None:
    monkeypatch.setattr(divergences, "CHUNK_ELEMENTS", {"cpu": 2 * 2 * VOCAB, "cuda": 2 * 2 * VOCAB})
    student, teachers = projected(1, 3), [projected(2, 4), projected(3, 2)]
    states, weight = (tensor.requires_grad_() for tensor in student)
    assert torch.autograd.gradcheck(
        lambda h, w: divergence_loss(Projected(h, w), teachers, divergence)[0], (states, weight)
    )


@pytest.mark.parametrize("divergence", [d for d in CASES if d.kind != "cross-entropy"], ids=str)
def test_of_a_distribution_from_itself_it_is_nothing_and_positive_otherwise(divergence: Divergence) -> None:
    student = projected(1, 3)
    states = student.states.clone().requires_grad_()
    total, each = divergence_loss(Projected(states, student.weight), [student], divergence)
    total.backward()
    assert states.grad is not None
    assert each.abs().max() < 1e-12
    assert states.grad.abs().max() < 1e-12
    assert (divergence_loss(student, [projected(2, 4)], divergence)[1] > 0).all()


@pytest.mark.parametrize(("end", "skews"), [(0.0, (1e-3, 1e-5)), (1.0, (1 - 1e-3, 1 - 1e-5))])
def test_jensen_shannon_goes_to_its_ends_in_value_and_gradient(end: float, skews: tuple[float, float]) -> None:
    def at(skew: float) -> tuple[torch.Tensor, torch.Tensor]:
        states, weight = projected(1, 3)
        states.requires_grad_()
        total, each = divergence_loss(Projected(states, weight), [projected(2, 4)], divergence_of("js", skew=skew))
        total.backward()
        assert states.grad is not None
        return each, states.grad

    (value, slope), near, nearer = at(end), at(skews[0]), at(skews[1])
    for exact, first, second in zip((value, slope), near, nearer, strict=True):
        gaps = [float((other - exact).abs().max()) for other in (first, second)]
        assert 0 < gaps[1] < gaps[0] / 50
        assert gaps[0] < 0.1


def test_top_k_of_all_words_but_one_is_all_words_and_ignores_what_is_within_the_rest() -> None:
    student, teacher = projected(1, 3), projected(2, 4)
    everything = divergence_loss(student, [teacher], divergence_of())[0]
    for k in (0, VOCAB - 1, VOCAB, VOCAB + 5):
        assert torch.isclose(divergence_loss(student, [teacher], divergence_of(top_k=k))[0], everything)


def test_probabilities_that_vanish_leave_everything_finite() -> None:
    states = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    weight = torch.eye(2)
    for divergence in CASES:
        total, _ = divergence_loss(Projected(states, weight), [Projected(states.detach().flip(1), weight)], divergence)
        (slope,) = torch.autograd.grad(total, states)
        assert torch.isfinite(total)
        assert torch.isfinite(slope).all()


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(made) if isinstance(each, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return made


@pytest.mark.parametrize("divergence", CASES, ids=str)
def test_the_probabilities_of_all_labels_are_never_there_at_once(
    divergence: Divergence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(divergences.CHUNK_ELEMENTS, "cpu", 4000)
    student, teacher = (projected(seed, 4, vocab=100, labels=400) for seed in (1, 2))
    student.states.requires_grad_()
    with Largest() as largest:
        divergence_loss(student, [teacher], divergence)[0].backward()
        most_probable([teacher], never=(0,))
    assert 400 * 4 <= largest.elements <= 4000 < 400 * 100


def test_most_probable_word_of_the_mean_and_never_a_forbidden_one() -> None:
    one, other = projected(1, 3, labels=50), projected(2, 4, labels=50)
    mean = sum(torch.softmax(states @ weight.T, 1) for states, weight in (one, other))
    assert isinstance(mean, torch.Tensor)
    assert torch.equal(most_probable([one, other], never=()), mean.argmax(1))
    allowed = most_probable([one], never=(0, 3))
    assert not {0, 3} & set(allowed.tolist())
    mean = one.states @ one.weight.T
    mean[:, [0, 3]] = -torch.inf
    assert torch.equal(allowed, mean.argmax(1))
