"""`train --init` and `--start-from`: a model begins with weights of another one."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from seqdistill.data.directory import DataDirectory
from seqdistill.errors import UserError
from seqdistill.models.interface import Model
from seqdistill.models.saved import load_model
from seqdistill.models.start import Started, start_from
from seqdistill.options import TrainOptions
from seqdistill.progress import Progress


def started_from(model: Model, settings: TrainOptions, data: DataDirectory, progress: Progress) -> Started | None:
    """Copies what `start_from` asks for, and says what; None where it asks for nothing.

    Raises:
        UserError: another vocabulary; as `models.start.start_from`.
    """
    if settings.start_from is None:
        return None
    teacher = load_model(settings.start_from)
    if teacher.tokenizers.fingerprint != data.tokenizers.fingerprint:
        raise UserError(
            f"{settings.start_from}: has another vocabulary than the data, so its embeddings mean other pieces; "
            "prepare the data with --tokenizer-from the directory it was trained on"
        )
    where, chosen = str(settings.start_from), (settings.start_encoder, settings.start_decoder)
    started = start_from(model, teacher.model, encoder=chosen[0], decoder=chosen[1], where=where)
    total = started.copied_weights + started.new_weights
    progress.start(f"start from {where}: {'; '.join(started.report)}", total=total, unit="weights copied")
    progress.advance(started.copied_weights)
    progress.finish()
    return started


def begin_with(model: nn.Module, directory: Path, data: DataDirectory) -> None:
    """Gives a model all weights of a trained one (`train --init`).

    Raises:
        UserError: another vocabulary or another configuration.
    """
    earlier = load_model(directory)
    if earlier.tokenizers.fingerprint != data.tokenizers.fingerprint:
        raise UserError(
            f"{directory}: was trained with another tokenizer than that of the data; "
            "prepare the data with --tokenizer-from the directory it was trained on"
        )
    if earlier.config != model.config:
        raise UserError(
            f"{directory}: --init has the configuration {earlier.config}, but the model asked for has {model.config}; "
            "give the same --model and --set as in its training"
        )
    model.load_state_dict(earlier.model.state_dict())
