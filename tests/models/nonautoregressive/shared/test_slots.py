"""Sentences that grow and shrink, by hand."""

import pytest
import torch

from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive.shared.slots import (
    bracketed,
    capped,
    compacted,
    empty_canvas,
    filled,
    kept,
    neighbours,
    slots,
    with_room,
)
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD

TOKENS = torch.tensor([[5, 6, 7], [8, PAD, PAD], [PAD, PAD, PAD]])
CANVAS = Canvas(TOKENS, -0.5 * TOKENS, torch.zeros(3), torch.tensor([1, 2, 3]))


def test_ends_stand_around_the_words() -> None:
    assert bracketed(TOKENS, OURS).tolist() == [[BOS, 5, 6, 7, EOS], [BOS, 8, EOS, PAD, PAD], [BOS, EOS, PAD, PAD, PAD]]
    assert bracketed(TOKENS[:, :0], OURS).tolist() == [[BOS, EOS]] * 3


def test_slots_are_one_more_than_words() -> None:
    assert slots(TOKENS, padding=PAD).long().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]


def test_a_slot_has_the_states_of_both_neighbours() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    assert neighbours(states).tolist() == [[[1, 2, 3, 4], [3, 4, 5, 6]]]


def test_kept_words_move_together_with_their_log_probabilities() -> None:
    left = kept(CANVAS, torch.tensor([[True, False, True], [False, False, False], [False, False, False]]), padding=PAD)
    assert left.tokens.tolist() == [[5, 7], [PAD, PAD], [PAD, PAD]]
    assert left.log_probs.tolist() == [[-2.5, -3.5], [0, 0], [0, 0]]
    assert left.passes.tolist() == [1, 2, 3]
    assert compacted(TOKENS, TOKENS < 0).shape == (3, 0)


def test_room_is_made_in_the_slots_and_filled_in_their_order() -> None:
    wide = with_room(CANVAS, torch.tensor([[1, 0, 0, 2], [0, 0, 0, 0], [2, 0, 0, 0]]), OURS)
    assert wide.tokens.tolist() == [
        [MASK, 5, 6, 7, MASK, MASK],
        [8, PAD, PAD, PAD, PAD, PAD],
        [MASK, MASK, PAD, PAD, PAD, PAD],
    ]
    assert wide.log_probs[0].tolist() == [0, -2.5, -3, -3.5, 0, 0]
    full = filled(wide, torch.tensor([10, 11, 12, 13, 14]), torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0]), OURS)
    assert full.tokens.tolist()[::2] == [[10, 5, 6, 7, 11, 12], [13, 14, PAD, PAD, PAD, PAD]]
    assert full.log_probs.tolist()[::2] == [[-1, -2.5, -3, -3.5, -2, -3], [-4, -5, 0, 0, 0, 0]]


def test_room_in_empty_sentences() -> None:
    nothing = empty_canvas(2, candidates=1, device=torch.device("cpu"))
    assert with_room(nothing, torch.tensor([[2], [0]]), OURS).tokens.tolist() == [[MASK, MASK], [PAD, PAD]]
    assert with_room(nothing, torch.tensor([[0], [0]]), OURS).tokens.shape == (2, 0)


def test_the_most_probable_insertions_come_first() -> None:
    counts = torch.tensor([[3, 0, 2, 4], [3, 0, 2, 4], [3, 0, 2, 4], [1, 1, 1, 0], [2, 2, 2, 2]])
    log_probs = torch.tensor([[-2.0, 0.0, -1.0, -3.0]] * 3 + [[-1.0, -1.0, -1.0, 0.0]] * 2)
    room = torch.tensor([9, 4, 0, 2, 3])
    assert capped(counts, log_probs, room).tolist() == [
        [3, 0, 2, 4],
        [2, 0, 2, 0],
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 2],
    ]


def test_no_lengths_to_try() -> None:
    with pytest.raises(UserError, match="but beam is 4: decode with beam 1"):
        empty_canvas(2, candidates=4, device=torch.device("cpu"))
