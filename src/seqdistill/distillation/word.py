"""Objectives that learn from a teacher at every position: its most probable token, or its whole distribution.

On the data's own targets the second is word-level distillation (Kim and Rush 2016, section 3.1; "Vanilla + Full" in
Lin et al. 2020, table 2), on a teacher's outputs "SeqKD + Full", on the student's roll-outs "ImitKD + Full".
"""

from __future__ import annotations

from typing import Any

import torch

from seqdistill.data.batches import Batch
from seqdistill.data.pieces import in_pieces
from seqdistill.distillation.log_metrics import LogMetrics, spread
from seqdistill.distillation.teacher import Teacher
from seqdistill.models.interface import Objective
from seqdistill.nn.divergences import Divergence, Projected, divergence_loss
from seqdistill.nn.losses import Loss


def hard_labels(student: Any, *, label_smoothing: float, log_metrics: LogMetrics) -> Objective:
    """Negative log-likelihood of a batch's labels (Lin et al. 2020, equation 5), see `Teacher.labelled`."""

    def objective(batch: Batch) -> Loss:
        assert batch.labels is not None
        mask = batch.target != student.target_ids.pad
        log_metrics.add_by_position("disagreement", (batch.labels != batch.target).float(), mask)
        return student.loss(batch, label_smoothing=label_smoothing)

    return _by_pieces(objective, student)


def full_distribution(student: Any, teacher: Teacher, divergence: Divergence, *, log_metrics: LogMetrics) -> Objective:
    """The divergence between the teacher's and the student's distribution, summed over the positions of the target,
    for batches described by `Teacher.described`; as cross-entropy equation 6 of Lin et al. 2020."""

    def objective(batch: Batch) -> Loss:
        mask = batch.target != student.target_ids.pad
        states = student.states(batch.source, batch.target)[mask]
        total, each = divergence_loss(Projected(states, student.output_weight), teacher.projected(batch), divergence)
        log_metrics.add_by_position("divergence", spread(each, mask), mask)
        return Loss(total, batch.num_labels)

    return _by_pieces(objective, student)


def _by_pieces(objective: Objective, student: Any) -> Objective:
    """The same sum over a batch, computed in pieces that hold little padding."""

    def whole(batch: Batch) -> Loss:
        losses = [objective(piece.batch) for piece in in_pieces(batch, student.source_ids, student.target_ids)]
        return Loss(torch.stack([loss.total for loss in losses]).sum(), sum(loss.count for loss in losses))

    return whole
