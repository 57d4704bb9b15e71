"""What a teacher says after every prefix of a target: its most probable next token, or its whole distribution."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch

from seqdistill.data.batches import Batch
from seqdistill.data.pieces import in_pieces
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.errors import UserError
from seqdistill.models.interface import AutoregressiveModel, Model
from seqdistill.nn.divergences import Projected, most_probable
from seqdistill.vocabulary.vocabularies import Vocabularies
from seqdistill.vocabulary.vocabulary import Vocabulary


class Teacher:
    """One autoregressive model, or several whose distributions are averaged, as labellers of batches."""

    def __init__(
        self,
        models: Sequence[Model],
        *,
        device: torch.device | str = "cpu",
        precision: torch.dtype = torch.float32,
        log_metrics: LogMetrics | None = None,
    ) -> None:
        """Args:
            device: where the teachers run, which may be another than the student's.
            precision: what the teachers compute in, by autocast.

        Raises:
            UserError: no model, or one that is not autoregressive.
        """
        if not models:
            raise UserError("imitation and word-level distillation need a teacher: give --teacher")
        if any(model.traits.non_autoregressive for model in models):
            raise UserError(
                "a teacher must be autoregressive to label the prefixes of another model, but this one is not: "
                "distill its outputs instead (`seqdistill distill`, then train on them)"
            )
        self.device, self.precision = torch.device(device), precision
        self.log_metrics = log_metrics or LogMetrics()
        self._models = [
            cast(AutoregressiveModel, model.to(self.device).eval().requires_grad_(False)) for model in models
        ]
        self._weights: dict[torch.device, list[torch.Tensor]] = {}

    def labelled(self, batch: Batch, rows: Collection[int] | None = None) -> Batch:
        """Sets `labels`: at each position the token that the teachers find most probable there.

        Args:
            rows: where to do so; the labels of other rows are their targets. None: everywhere.
        """
        with self.log_metrics.timed("teacher"):
            ids = self._models[0].target_ids
            mask = batch.target != ids.pad
            # One token for each real position, row by row; `masked_scatter` puts them into (batch, target).
            chosen = most_probable(self._projected(batch), never=ids.never_written).to(batch.target.device)
            labels = batch.target.masked_scatter(mask, chosen)
            if rows is not None:
                kept = [row for row in range(len(labels)) if row not in rows]
                labels[kept] = batch.target[kept]
            return batch._replace(labels=labels)

    def described(self, batch: Batch) -> Batch:
        """Sets `teacher_states`, of which `projected` makes the distributions."""
        with self.log_metrics.timed("teacher"):
            states = tuple(model.states.to(batch.target.device) for model in self._projected(batch))
            return batch._replace(teacher_states=states)

    def projected(self, batch: Batch) -> list[Projected]:
        """The distributions of a described batch, on its device."""
        assert batch.teacher_states is not None
        device = batch.target.device
        if device not in self._weights:
            self._weights[device] = [model.output_weight.to(device) for model in self._models]
        return [Projected(*pair) for pair in zip(batch.teacher_states, self._weights[device], strict=True)]

    @torch.no_grad()
    def _projected(self, batch: Batch) -> list[Projected]:
        """Each teacher's states where the target is no padding, on the teachers' device."""
        # Pieces hold less padding, and each knows which of the batch's labels are its own: put back, they are in the
        # order of the batch, in which `teacher_states` and `labels` are read later.
        pieces = in_pieces(batch, self._models[0].source_ids, self._models[0].target_ids)
        parts = [self._states(piece.batch) for piece in pieces]
        states = [torch.empty(len(pieces[0].labels), each.shape[1], device=self.device) for each in parts[0]]
        for piece, part in zip(pieces, parts, strict=True):
            for whole, its in zip(states, part, strict=True):
                whole[piece.labels.to(self.device)] = its
        return [Projected(each, model.output_weight) for each, model in zip(states, self._models, strict=True)]

    def _states(self, batch: Batch) -> list[torch.Tensor]:
        source, target = batch.source.to(self.device), batch.target.to(self.device)
        mask = target != self._models[0].target_ids.pad
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            return [model.states(source, target)[mask].float() for model in self._models]


def check_vocabularies(teacher: Vocabularies, student: Vocabularies, *, where: str) -> None:
    """Raises UserError unless both cut text into the same pieces with the same ids; sizes alone prove nothing."""
    for side in ("source", "target"):
        one, other = getattr(teacher, side), getattr(student, side)
        if (found := _first_difference(one, other)) is not None:
            raise UserError(
                f"{where}: the teacher's {side} vocabulary is not that of the data ({found}), so its labels would mean "
                "other words. Prepare the data with --tokenizer-from the teacher's data, or distill whole sequences, "
                "which are tokenised again: `seqdistill distill --teacher ... --student-data DATA`, then train on that"
            )


def _first_difference(one: Vocabulary, other: Vocabulary) -> str | None:
    if one.lowercase != other.lowercase:
        return f"lower-casing is {one.lowercase} there, {other.lowercase} here"
    for token in range(max(len(one), len(other))):
        pieces = [each.piece(token) if token < len(each) else "(none)" for each in (one, other)]
        if pieces[0] != pieces[1]:
            return f"piece {token} is {pieces[0]!r} there, {pieces[1]!r} here"
    return None
