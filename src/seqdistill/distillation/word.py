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
        losses = []
        for piece in in_pieces(batch, student.source_ids, student.target_ids):
            assert piece.batch.labels is not None
            mask = piece.batch.target != student.target_ids.pad
            log_metrics.add_by_position("disagreement", (piece.batch.labels != piece.batch.target).float(), mask)
            losses.append(student.loss(piece.batch, label_smoothing=label_smoothing))
        return _sum(losses)

    return objective


def full_distribution(student: Any, teacher: Teacher, divergence: Divergence, *, log_metrics: LogMetrics) -> Objective:
    """The divergence between the teacher's and the student's distribution, summed over the positions of the target,
    for batches described by `Teacher.described`; as cross-entropy equation 6 of Lin et al. 2020."""

    def objective(batch: Batch) -> Loss:
        losses = []
        for piece in in_pieces(batch, student.source_ids, student.target_ids):
            mask = piece.batch.target != student.target_ids.pad
            states = student.states(piece.batch.source, piece.batch.target)[mask]  # (labels, dim)
            student_side = Projected(states, student.output_weight)
            total, each = divergence_loss(student_side, teacher.projected(piece.batch), divergence)
            log_metrics.add_by_position("divergence", spread(each, mask), mask)
            losses.append(Loss(total, piece.batch.num_labels))
        return _sum(losses)

    return objective


def _sum(losses: list[Loss]) -> Loss:
    """The loss of a batch, from the losses of its pieces."""
    return Loss(torch.stack([loss.total for loss in losses]).sum(), sum(loss.count for loss in losses))
