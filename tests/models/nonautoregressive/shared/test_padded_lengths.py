"""Targets in whole units, and the lengths they may have."""

import math

import pytest
import torch
import torch.nn.functional as F

from seqdistill.errors import UserError
from seqdistill.models.nonautoregressive.shared.padded_lengths import (
    LENGTH_SMOOTHING,
    PaddedLength,
    padded_targets,
    whole_units,
)
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import EOS, PAD


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def sources(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States of sources with so many words, and where they are real (EOS included)."""
    mask = torch.arange(max(lengths) + 1) <= torch.tensor(lengths)[:, None]
    return torch.randn(*mask.shape, 4), mask


@pytest.mark.parametrize(
    ("words", "unit", "expected"),
    [
        ([], 4, [EOS, EOS, EOS, EOS]),
        ([7], 4, [7, EOS, EOS, EOS]),
        ([7, 8, 9], 4, [7, 8, 9, EOS]),
        ([7, 8, 9, 6], 4, [7, 8, 9, 6]),
        ([7, 8, 9, 6, 5], 4, [7, 8, 9, 6, 5, EOS, EOS, EOS]),
        ([7, 8, 9], 1, [7, 8, 9]),
    ],
)
def test_targets_end_with_eos_up_to_the_next_unit(words: list[int], unit: int, expected: list[int]) -> None:
    for padding in (0, 1, 6):
        target = torch.tensor([[*words, EOS, *[PAD] * padding]])
        assert padded_targets(target, unit, OURS).tolist() == [expected]


def test_rows_are_padded_to_the_longest() -> None:
    target = torch.tensor([[7, 8, 9, 6, 5, EOS], [7, EOS, PAD, PAD, PAD, PAD]])
    assert padded_targets(target, 4, OURS).tolist() == [[7, 8, 9, 6, 5, EOS, EOS, EOS], [7, EOS, EOS, EOS] + [PAD] * 4]


def test_whole_units() -> None:
    assert whole_units(torch.tensor([0, 1, 4, 5, 8]), 4).tolist() == [4, 4, 4, 8, 8]


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_probabilities_are_of_positive_multiples_of_the_unit_near_the_source(unit: int) -> None:
    states, mask = sources(0, 1, 30)
    log_probs = PaddedLength(4, unit)(states, mask)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(3))
    for row, words in enumerate((0, 1, 30)):
        possible = [d for d in range(-20, 21) if words + d > 0 and (words + d) % unit == 0]
        assert [d - 20 for d in (log_probs[row] > -torch.inf).nonzero().flatten().tolist()] == possible


def test_a_length_out_of_reach_counts_as_the_nearest() -> None:
    length = PaddedLength(4, 4).eval()
    states, mask = sources(3)
    log_probs = length(states, mask)[0]
    assert length.loss(states, mask, torch.tensor([400])).item() == pytest.approx(-log_probs[20 + 20 - 3].item())
    states, mask = sources(40)
    log_probs = length(states, mask)[0]
    assert length.loss(states, mask, torch.tensor([4])).item() == pytest.approx(-log_probs[0].item())


def test_smoothing_in_training_is_over_the_possible_lengths() -> None:
    length = PaddedLength(4, 4)
    states, mask = sources(5, 9)
    with torch.no_grad():
        length.output.weight.zero_()
        length.output.bias.copy_(torch.linspace(0, 4, 41))
    log_probs = length(states, mask)
    for row, (words, target) in enumerate(((5, 8), (9, 4))):
        possible = [d for d in range(41) if words + d - 20 > 0 and (words + d - 20) % 4 == 0]
        even = -log_probs[row, possible].mean()
        exact = -log_probs[row, 20 + target - words]
        expected = (1 - LENGTH_SMOOTHING) * exact + LENGTH_SMOOTHING * even
        found = length.train().loss(states[row : row + 1], mask[row : row + 1], torch.tensor([target]))
        assert found.item() == pytest.approx(expected.item())
    for each in length.parameters():
        each.grad = None
    length.loss(states, mask, torch.tensor([8, 4])).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in length.parameters())


def test_padding_of_sources_changes_nothing() -> None:
    length, (states, mask) = PaddedLength(4, 4), sources(5, 3)
    wider = length(F.pad(states, (0, 0, 0, 7), value=9.0), F.pad(mask, (0, 7)))
    torch.testing.assert_close(wider, length(states, mask))


def test_most_probable_lengths_best_first() -> None:
    length, (states, mask) = PaddedLength(4, 4), sources(5, 0)
    with torch.no_grad():
        length.output.weight.zero_()
        length.output.bias.zero_()
        length.output.bias[20 + 3], length.output.bias[20 + 7], length.output.bias[20 + 4] = 3.0, 2.0, 1.0
    lengths, log_probs = length.most_probable(states, mask, candidates=2)
    assert lengths[0].tolist() == [8, 12] and lengths[1, 0].item() == 4
    assert (log_probs[0, 0] - log_probs[0, 1]).item() == pytest.approx(1.0)
    assert log_probs[0, 1].item() == pytest.approx(2 - math.log(math.e**3 + math.e**2 + 4))


@pytest.mark.parametrize(("unit", "candidates"), [(4, 6), (4, 0), (1, 21)])
def test_more_lengths_than_there_are(unit: int, candidates: int) -> None:
    with pytest.raises(UserError, match=rf"tries 1 to {20 // unit} lengths .* but beam is {candidates}"):
        PaddedLength(4, unit).most_probable(*sources(1), candidates=candidates)
