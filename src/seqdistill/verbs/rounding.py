"""`train --quantize`: losses and validations of the model that `export` will make."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES, exporter, family_named
from seqdistill.models.interface import Model
from seqdistill.models.saved import family_of
from seqdistill.nn.int8 import rounding
from seqdistill.options import TrainingOptions, TrainOptions
from seqdistill.runtime.exporting.writing import ENGINE

EXPORTABLE = [name for name, family in FAMILIES.items() if ENGINE in family.exporters]


def check_quantize(settings: TrainOptions) -> None:
    """Raises UserError for a model that cannot be exported, and so is never rounded."""
    family = family_named(settings.model)
    if settings.quantize and ENGINE not in family.exporters:
        raise UserError(
            f"quantize {settings.quantize!r} trains a model for the engine {ENGINE}, which does not run model "
            f"{settings.model!r}: {family.not_run[ENGINE]}. Leave quantize out, or train one of {', '.join(EXPORTABLE)}"
        )


def rounded_updates(options: TrainingOptions, model: Model) -> Callable[[int], AbstractContextManager[None]]:
    """Of an update: while it is open, the model computes as its export will; before `quantize_from`, as it is.

    What is rounded is what the export packs, named by the same function: so a matrix that one knows, the other does.
    """
    if options.quantize is None:
        return nullcontext
    parts = exporter(family_of(model), ENGINE)

    def opened(update: int) -> AbstractContextManager[None]:
        if update < options.quantize_from:
            return nullcontext()
        return rounding(model, (part.values for part in parts(model) if part.matrix))

    return opened
