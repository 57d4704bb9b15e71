"""Pieces of a batch: every row once, sums unchanged, little padding, nothing done where there is little to gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqdistill.data import pieces
from seqdistill.data.batches import Batch, collate
from seqdistill.data.pieces import in_pieces
from seqdistill.vocabulary.sentencepiece import PAD


def batch_of(lengths: list[tuple[int, int]]) -> Batch:
    random = np.random.default_rng(1)
    made = collate(
        [tuple(random.integers(5, 50, n).tolist() for n in pair) for pair in lengths], range(100, 100 + len(lengths))
    )
    states = torch.arange(2 * made.num_labels, dtype=torch.float32).view(-1, 2)
    return made._replace(labels=made.target.where(made.target == PAD, made.target + 1), teacher_states=(states,))


LENGTHS = [(4, 30), (9, 2), (5, 3), (7, 28), (3, 9), (2, 10), (8, 3), (6, 2), (4, 12), (1, 1)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pieces.PIECE_TOKENS, "cpu", 20)


def test_every_row_is_in_one_piece_with_its_labels_and_states(small: None) -> None:
    batch = batch_of(LENGTHS)
    found = in_pieces(batch)
    assert len(found) == 3 and batch.teacher_states is not None
    assert sorted(row for piece in found for row in piece.batch.index.tolist()) == batch.index.tolist()
    assert torch.equal(sum(piece.labels.int() for piece in found), torch.ones(batch.num_labels, dtype=torch.int))
    for piece in found:
        part = piece.batch
        assert part.labels is not None and part.teacher_states is not None
        assert part.num_labels == int((part.target != PAD).sum()) == len(part.teacher_states[0])
        assert torch.equal(part.teacher_states[0], batch.teacher_states[0][piece.labels])
        for row, index in enumerate(part.index.tolist()):
            for whole, its in ((batch.source, part.source), (batch.target, part.target), (batch.labels, part.labels)):
                assert whole is not None
                real = whole[index - 100][whole[index - 100] != PAD]
                assert torch.equal(its[row][its[row] != PAD], real)
        assert (part.source != PAD).any(0).all() and (part.target != PAD).any(0).all()
    padded = sum(piece.batch.target.numel() for piece in found)
    assert padded < 0.5 * batch.target.numel()


def test_one_piece_where_little_is_padded_or_little_is_there(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    even = batch_of([(5, 9)] * 10)
    assert len(in_pieces(even)) == 1 and in_pieces(even)[0].batch is even
    monkeypatch.setitem(pieces.PIECE_TOKENS, "cpu", 1000)
    batch = batch_of(LENGTHS)
    (only,) = in_pieces(batch)
    assert only.batch is batch and only.labels.all() and len(only.labels) == batch.num_labels
