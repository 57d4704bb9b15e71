"""What a training learns from: the contexts of Lin et al. 2020, table 2, and the loss at each of their positions; the
two together are equation 2."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqdistill.data.batches import Batch, Batches
from seqdistill.data.directory import DataDirectory
from seqdistill.decoding.ensemble import Ensemble
from seqdistill.distillation.dagger import Dagger
from seqdistill.distillation.imitation import Rollouts
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.distillation.teacher import Teacher, check_vocabularies
from seqdistill.distillation.word import full_distribution, hard_labels
from seqdistill.errors import UserError
from seqdistill.models.interface import Model, Objective
from seqdistill.models.saved import load_model
from seqdistill.nn.divergences import Divergence
from seqdistill.options import DivergenceOptions, RolloutOptions, TrainOptions
from seqdistill.progress import Progress
from seqdistill.training.distributed import Ranks
from seqdistill.training.loop import BatchStream
from seqdistill.training.optim import choose_device, choose_precision


class Method(NamedTuple):
    """A row of the table."""

    contexts: str
    """Prefixes learned from: "data" (the data's targets), "imitkd" (roll-outs mixed with them) or "dagger"."""
    full: bool
    """Learn the teacher's whole distribution, not one label."""

    @property
    def needs_teacher(self) -> bool:
        return self.full or self.contexts != "data"


OBJECTIVES = {
    "nll": Method("data", full=False),
    "nll+full": Method("data", full=True),
    "imitkd": Method("imitkd", full=False),
    "imitkd+full": Method("imitkd", full=True),
    "dagger": Method("dagger", full=False),
    "dagger+full": Method("dagger", full=True),
}
"""On real data Vanilla, Vanilla + Full (word-level distillation), ImitKD, ImitKD + Full; on a teacher's outputs SeqKD,
SeqKD + Full, ImitKD* and ImitKD* + Full; DAgger writes its own."""

NO_ROLLOUTS = RolloutOptions(mixing="constant", mixing_rate=1.0, pool=1)
"""The data's targets, labelled batch by batch."""

FULL = tuple(DivergenceOptions.model_fields)
ROLLOUTS = ("mixing", "mixing_rate", *(name for name in TrainOptions.offered() if name.startswith("rollout_")))
READERS: dict[str, Callable[[Method], bool]] = {
    **dict.fromkeys(("teacher", "teacher_device", "teacher_precision"), lambda method: method.needs_teacher),
    **dict.fromkeys(FULL, lambda method: method.full),
    **dict.fromkeys(ROLLOUTS, lambda method: method.contexts != "data"),
    "pool": lambda method: method.contexts == "imitkd",
    "data_labels": lambda method: method.contexts == "imitkd" and not method.full,
    "dagger_rounds": lambda method: method.contexts == "dagger",
    "max_positions": lambda method: method.contexts != "dagger",
    "label_smoothing": lambda method: not method.full,
}
"""Options that not every objective reads -> those that do."""


def check_objective(settings: TrainOptions) -> None:
    """Raises UserError for a missing teacher, or an option that the objective does not read."""
    name = settings.objective
    method = OBJECTIVES[name]
    if method.needs_teacher and not settings.teacher:
        raise UserError(f"objective {name!r} learns from a teacher: give --teacher, a trained model")
    given, offered = settings.recorded() | {"teacher": [str(path) for path in settings.teacher]}, TrainOptions.offered()
    for option, reads in READERS.items():
        if not reads(method) and given[option] != offered[option].default:
            readers = ", ".join(other for other in OBJECTIVES if reads(OBJECTIVES[other]))
            raise UserError(
                f"objective {name!r} does not read {option}, which is {given[option]!r}: leave it out, or choose an "
                f"objective that does ({readers})"
            )


def assemble(
    settings: TrainOptions,
    model: Any,
    data: DataDirectory,
    *,
    ranks: Ranks,
    out: Path,
    progress: Progress,
) -> tuple[Objective, BatchStream]:
    """The objective of a training and its stream of batches.

    Raises:
        UserError: a target that is too long for the model; a teacher that is not there, is non-autoregressive, or has
            another vocabulary; a student that is non-autoregressive, and so has no prefixes to be labelled, or that is
            a mixture.
    """
    batches = Batches(
        data.train,
        max_tokens=settings.batch_tokens,
        max_length=settings.max_positions,
        seed=settings.seed,
        source_ids=model.source_ids,
        target_ids=model.target_ids,
        rank=ranks.rank,
        ranks=ranks.size,
    )
    _check_targets(settings, model, batches)
    method, smoothing = OBJECTIVES[settings.objective], settings.label_smoothing
    if not method.needs_teacher:
        return partial(model.loss, label_smoothing=smoothing), batches
    _check_student(settings, model)
    log_metrics = LogMetrics()
    device = ranks.device if ranks.size > 1 else choose_device(settings.device)
    models = [_load_teacher(directory, data) for directory in settings.teacher]
    teacher = _teacher(settings, models, device, log_metrics)
    objective = _objective(settings, model, teacher, log_metrics)

    def label(batch: Batch, rolled_out: Collection[int]) -> Batch:
        batch = batch.to(device)
        if method.full:
            return teacher.described(batch)
        return teacher.labelled(batch, rolled_out if settings.data_labels == "data" else None)

    per_update = settings.accumulate // ranks.size
    if method.contexts == "dagger":
        if ranks.size > 1:
            raise UserError("dagger writes its rounds in one process: train without torchrun, or use imitkd")
        return objective, Dagger(
            data.train,
            model,
            Ensemble(models) if len(models) > 1 else models[0],
            lambda batch: label(batch, ()),
            settings,
            rounds=settings.dagger_rounds,
            max_updates=settings.max_updates,
            batches_per_update=per_update,
            batch_tokens=settings.batch_tokens,
            seed=settings.seed,
            folder=out / "rounds",
            log_metrics=log_metrics,
            progress=progress,
        )
    return objective, Rollouts(
        batches,
        model,
        label,
        NO_ROLLOUTS if method.contexts == "data" else settings,
        max_updates=settings.max_updates,
        batches_per_update=per_update,
        log_metrics=log_metrics,
        rank=ranks.rank,
        ranks=ranks.size,
    )


def _objective(settings: TrainOptions, model: Any, teacher: Teacher, log_metrics: LogMetrics) -> Objective:
    """The loss against a teacher: of its whole distribution, or of the one label it gives."""
    if not OBJECTIVES[settings.objective].full:
        return hard_labels(model, label_smoothing=settings.label_smoothing, log_metrics=log_metrics)
    divergence = Divergence(settings.divergence, settings.skew, settings.divergence_temperature, settings.teacher_top_k)
    return full_distribution(model, teacher, divergence, log_metrics=log_metrics)


def _teacher(settings: TrainOptions, models: Any, device: torch.device, log_metrics: LogMetrics) -> Teacher:
    """The teacher where, and in the precision in which, the settings want it; by default beside the student."""
    where = device if settings.teacher_device == "auto" else choose_device(settings.teacher_device)
    precision = choose_precision(settings.teacher_precision, where)
    return Teacher(models, device=where, precision=precision, log_metrics=log_metrics)


def _check_targets(settings: TrainOptions, model: Any, batches: Batches) -> None:
    """Raises UserError for a target that the model has no loss for."""
    longest = model.longest_target if model.traits.non_autoregressive else None
    if longest is not None and (found := batches.longer_targets(longest)):
        raise UserError(
            f"{settings.data}: {len(found)} targets are too long for model {settings.model!r}, the first that of pair "
            f"{found[0] + 1}: it learns at most {longest} tokens; leave such pairs out with "
            f"--max-positions {longest + 1}"
        )


def _check_student(settings: TrainOptions, model: Any) -> None:
    """Raises UserError unless a teacher can label the student's prefixes one by one."""
    reads = f"objective {settings.objective!r} labels every prefix of a target, but model {settings.model!r}"
    if model.traits.non_autoregressive:
        raise UserError(
            f"{reads} is non-autoregressive: distill whole sequences (`seqdistill distill`), and train on them with nll"
        )
    if model.traits.experts:
        raise UserError(f"{reads} lets its experts compete for whole targets: train it with nll")


def _load_teacher(directory: Path, data: DataDirectory) -> Model:
    loaded = load_model(directory)
    check_vocabularies(loaded.tokenizers, data.tokenizers, where=str(directory))
    return loaded.model
