"""A batch in pieces of similar target length: roll-outs have other lengths than the targets a batch was made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.vocabulary.ids import OURS, SpecialIds

MOST_PIECES = 3
WORTH = 1.15
"""A batch is taken apart when its target has more padded tokens than real ones by this factor."""
PIECE_TOKENS = {"cpu": 256, "cuda": 8192}
"""Target tokens of a piece at least: fewer do not fill the device."""


class Piece(NamedTuple):
    """Some rows of a batch, padded to their own longest."""

    batch: Batch
    labels: Bool[Tensor, " labels"]
    """Which of the whole batch's labels (row by row, without padding) are of these rows, in the same order."""


def in_pieces(batch: Batch, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> list[Piece]:
    """Rows of similar target length together, about as many labels in each piece; one piece where padding is small.

    Every row is in one piece, so a sum over rows is the sum over pieces. How much padding that saves: docs/log.md.
    """
    labels = batch.num_labels
    count = min(MOST_PIECES, labels // PIECE_TOKENS.get(batch.target.device.type, PIECE_TOKENS["cuda"]))
    if count < 2 or batch.target.numel() < WORTH * labels:
        return [Piece(batch, torch.ones(labels, dtype=torch.bool, device=batch.target.device))]
    mask = batch.target != target_ids.pad
    lengths = mask.sum(1)
    order = lengths.argsort(stable=True)
    # Rows from short to long, each in the piece that its last label falls into where labels are cut into equal parts.
    # Lengths 1 2 3 4 and two pieces: cumulated 1 3 6 10, so 0 0 1 1.
    share = (lengths[order].cumsum(0) - 1) * count // labels
    row_of_label = mask.nonzero()[:, 0]
    pieces = []
    for number in range(count):
        rows = order[share == number].sort().values  # in the batch's order, as labels are picked by a mask
        if len(rows):
            chosen = torch.isin(row_of_label, rows)
            width = int((batch.source[rows] != source_ids.pad).sum(1).max())
            pieces.append(Piece(_rows(batch, rows, chosen, width, int(lengths[rows].max())), chosen))
    return pieces


def _rows(batch: Batch, rows: Tensor, chosen: Tensor, width: int, longest: int) -> Batch:
    source, target = batch.source[rows][:, :width], batch.target[rows]
    return Batch(
        source,
        target[:, :longest],
        batch.index[rows.to(batch.index.device)],
        int(chosen.sum()),
        None if batch.labels is None else batch.labels[rows][:, :longest],
        None if batch.teacher_states is None else tuple(states[chosen] for states in batch.teacher_states),
    )
