"""`train --init` and `--start-from`: a model begins with weights of another one."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from seqdistill.data.directory import DataDirectory
from seqdistill.errors import UserError
from seqdistill.models.interface import Model
from seqdistill.models.saved import LoadedModel, load_model
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
    teacher, where = _trained(settings.start_from, data), str(settings.start_from)
    started = start_from(
        model, teacher.model, encoder=settings.start_encoder, decoder=settings.start_decoder, where=where
    )
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
    earlier = _trained(directory, data)
    if earlier.config != model.config:
        raise UserError(
            f"{directory}: --init has the configuration {earlier.config}, but the model asked for has {model.config}; "
            "give the same --model and --set as in its training"
        )
    model.load_state_dict(earlier.model.state_dict())


def _trained(directory: Path, data: DataDirectory) -> LoadedModel:
    """A model whose embeddings mean what those of a model for this data mean."""
    loaded = load_model(directory)
    if loaded.tokenizers.fingerprint != data.tokenizers.fingerprint:
        raise UserError(
            f"{directory}: has another vocabulary than the data, so its embeddings mean other pieces; "
            "prepare the data with --tokenizer-from the directory it was trained on"
        )
    return loaded
