"""Lengths before words: classes, their loss, and the canvases that begin with the most probable ones."""

import pytest
import torch
import torch.nn.functional as F

from seqdistill.errors import UserError
from seqdistill.models.nonautoregressive.shared.canvas import masks
from seqdistill.models.nonautoregressive.shared.lengths import LengthPredictor
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import MASK, PAD


def predictor(kind: str, *, best: dict[int, float] | None = None) -> LengthPredictor:
    """With classes preferred by the bias alone, if given."""
    torch.manual_seed(0)
    length = LengthPredictor(4, kind)
    if best:
        with torch.no_grad():
            length.weight.zero_()
            length.bias.zero_()
            for class_number, logit in best.items():
                length.bias[class_number] = logit
    return length


def source(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States of sources of these lengths, and where they are real (EOS included)."""
    mask = torch.arange(max(lengths) + 1) <= torch.tensor(lengths)[:, None]
    return torch.randn(*mask.shape, 4), mask


def test_weights_are_named_as_those_of_a_linear_layer() -> None:
    """Models from before the predictor had a file of its own are read as they are."""
    assert {name: tuple(weight.shape) for name, weight in predictor("offset").state_dict().items()} == {
        "weight": (256, 4),
        "bias": (256,),
    }


def test_logits_are_of_the_mean_over_real_states() -> None:
    length, (states, mask) = predictor("offset"), source(3, 1)
    logits = length(states, mask)
    torch.testing.assert_close(logits[1], F.linear(states[1, :2].mean(0), length.weight, length.bias))
    torch.testing.assert_close(length(F.pad(states, (0, 0, 0, 5)), F.pad(mask, (0, 5))), logits)


@pytest.mark.parametrize(("kind", "shift"), [("absolute", 0), ("offset", 3 - 128)])
def test_start_has_the_most_probable_lengths(kind: str, shift: int) -> None:
    best = {2 - shift: 3.0, 5 - shift: 2.0, 1 - shift: 1.0, 0 - shift: 9.0}
    canvas = predictor(kind, best=best).start(*source(3), candidates=3, ids=OURS)
    assert (canvas.tokens == MASK).sum(1).tolist() == [2, 5, 1]  # and never 0
    assert canvas.tokens[0].tolist() == [MASK, MASK, PAD, PAD, PAD]
    assert canvas.length_log_probs.diff().tolist() == pytest.approx([-1, -1])
    assert not canvas.log_probs.any() and not canvas.passes.any()


def test_candidates_of_a_sentence_stand_side_by_side() -> None:
    canvas = predictor("offset", best={128: 3.0, 129: 2.0}).start(*source(3, 7), candidates=2, ids=OURS)
    assert (canvas.tokens == MASK).sum(1).tolist() == [3, 4, 7, 8]


@pytest.mark.parametrize(
    ("kind", "source_length", "target", "expected"),
    [
        ("absolute", 3, 5, 5),
        ("absolute", 3, 255, 255),
        ("offset", 3, 5, 130),
        ("offset", 10, 137, 255),
        ("offset", 10, 300, 255),  # lengths beyond the offsets count as the outermost
        ("offset", 129, 1, 0),
        ("offset", 200, 1, 0),
    ],
)
def test_loss_is_a_tenth_of_the_cross_entropy(kind: str, source_length: int, target: int, expected: int) -> None:
    length, (states, mask) = predictor(kind), source(source_length)
    found = length.loss(states, mask, torch.tensor([target]), torch.tensor([0]))
    torch.testing.assert_close(found, 0.1 * F.cross_entropy(length(states, mask), torch.tensor([expected]))[None])


def test_length_without_a_class() -> None:
    states, mask = source(1, 10)
    with pytest.raises(UserError, match=r"line 8 .*: 256 target tokens.* allow at most 255"):
        predictor("absolute").loss(states, mask, torch.tensor([1, 256]), torch.tensor([2, 7]))


@pytest.mark.parametrize("candidates", [0, 128])
def test_more_lengths_than_there_are(candidates: int) -> None:
    with pytest.raises(UserError, match=f"tries 1 to 127 lengths, but beam is {candidates}"):
        predictor("offset").start(*source(1), candidates=candidates, ids=OURS)


def test_every_length_there_is() -> None:
    """Also of a source without words: its EOS is there."""
    canvas = predictor("offset").start(*source(0, 1), candidates=127, ids=OURS)
    assert canvas.length_log_probs.isfinite().all() and (canvas.tokens[:, 0] == MASK).all()


def test_masks_by_hand() -> None:
    assert masks(torch.tensor([1, 3]), OURS).tolist() == [[MASK, PAD, PAD], [MASK, MASK, MASK]]
