"""`train`: a model, an objective and a data directory become a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.store import Store
from seqdistill.errors import UserError
from seqdistill.journal import Growth
from seqdistill.machine import threads_kept
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.tokenizers import completed
from seqdistill.models.family import config_named, family_named
from seqdistill.models.interface import ExpertsModel, HasLogMetrics
from seqdistill.models.saved import create_model, save_model
from seqdistill.options import MetricOptions, TrainOptions
from seqdistill.progress import Progress
from seqdistill.training.distributed import Ranks, joined
from seqdistill.training.growth import GROWING, end_of
from seqdistill.training.history import equals, rank
from seqdistill.training.loop import TrainingResult
from seqdistill.training.loop import train as run_loop
from seqdistill.training.optim import choose_device
from seqdistill.training.validation import validation_scores
from seqdistill.verbs.branch import branch_point
from seqdistill.verbs.objectives import OBJECTIVES, assemble, check_objective
from seqdistill.verbs.rounding import check_quantize, rounded_updates
from seqdistill.verbs.starting import begin_with, started_from


def check(settings: TrainOptions) -> None:
    """Raises UserError for an unknown objective, model or value of an option, and names the nearest valid one."""
    check_objective(settings)
    check_quantize(settings)
    config, check_training = config_named(settings.model, settings.set), family_named(settings.model).check_training
    if settings.init is None and check_training:
        check_training(config, settings.max_updates, patience=settings.patience * settings.validate_every)
    _check_decay(settings)
    _check_start(settings)


def growth(settings: TrainOptions) -> Growth:
    """A training can be given more updates later, unless something on its way depends on their number."""
    refused, method = "", OBJECTIVES[settings.objective]
    if settings.schedule not in GROWING:
        refused = f"schedule {settings.schedule!r} falls to 0 at the last update; {', '.join(GROWING)} can grow"
    elif method.contexts == "dagger":
        refused = "dagger spreads its rounds over max_updates"
    elif method.contexts == "imitkd" and settings.mixing != "constant":
        refused = f"mixing {settings.mixing!r} depends on max_updates; constant can grow"
    return Growth("max_updates", refused)


def _check_start(settings: TrainOptions) -> None:
    """Raises UserError for options of a start where there is none, or where there are two."""
    if settings.start_from is None:
        for name in ("start_encoder", "start_decoder", "start_rate"):
            if getattr(settings, name) != (default := TrainOptions.offered()[name].default):
                raise UserError(f"{name} belongs to start_from: name a model to start from, or leave {name} {default}")
    elif settings.init or settings.decay_from:
        other = "init" if settings.init else "decay_from"
        raise UserError(f"start_from and {other} both say what the weights begin with; keep one")


def _check_decay(settings: TrainOptions) -> None:
    """Raises UserError where there is no room for a decay, or one is branched off what cannot grow."""
    if settings.schedule != "wsd":
        if settings.decay_from is not None:
            raise UserError(f"decay_from begins a decay by schedule 'wsd', but schedule is {settings.schedule!r}")
        if "decay" in settings.model_fields_set:
            raise UserError(f"decay is for schedule 'wsd', but schedule is {settings.schedule!r}: leave decay out")
        return
    if settings.decay_from is not None and "decay" in settings.model_fields_set:
        raise UserError("decay_from says where the decay begins: leave decay out")
    stable = end_of("wsd", settings.max_updates, settings.decay).stable
    if settings.decay_from is None and stable < settings.warmup:
        raise UserError(
            f"schedule 'wsd' begins to decay after update {stable}, within the warm-up of {settings.warmup}: shorten "
            "the warm-up, or raise max_updates"
        )
    if settings.decay_from is not None and (refused := growth(settings).refused):
        raise UserError(f"decay_from continues another training, but {refused}")


def train(settings: TrainOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Trains into `out`, continuing where an earlier run stopped; the final model goes to `out`/model.

    Raises:
        UserError: an unknown model, objective or option; no validation data; a foreign checkpoint; see the parts.
    """
    check(settings)
    with (
        joined(choose_device(settings.device)) as ranks,
        threads_kept(),
        torch.inference_mode(False),  # a caller may have switched gradients off
        torch.enable_grad(),
    ):
        data, valid = _opened(settings.data)
        num_targets = data.num_targets["valid"]
        scored_by = _signature(settings.metric, data)  # now, not at the first validation
        torch.manual_seed(settings.seed)
        model = create_model(settings.model, data.tokenizers, **settings.set)
        if settings.init:
            begin_with(model, settings.init, data)
        started = started_from(model, settings, data, progress)
        branch = branch_point(settings, out)
        objective, batches = assemble(settings, model, data, ranks=ranks, out=out, progress=progress)
        rounded = rounded_updates(settings, model)

        def score() -> dict[str, float]:
            with rounded(settings.max_updates):  # as it will be deployed, also before `quantize_from`
                return validation_scores(
                    model,
                    valid,
                    data.tokenizers,
                    metric=settings.metric,
                    max_tokens=settings.batch_tokens,
                    num_targets=num_targets,
                    languages=data.languages,
                    ranks=ranks,
                )

        result = run_loop(
            model,
            objective,
            batches,
            options=settings,
            validate=lambda: _validated(model, score, settings.metric)[0],
            out=out,
            branch=branch,
            scored_by=scored_by,
            slower=started.copied if started else (),
            factor=settings.start_rate,
            rounded=rounded,
            progress=progress,
            ranks=ranks,
        )
        found = _finished(settings, model, data, result, score, ranks, out)
        signature = {"valid_signature": scored_by} if scored_by else {}
        return found | signature | ({"started": started.report} if started else {})


def _signature(metric: str, data: DataDirectory) -> str:
    """Of the metric of validations, which is made once, so that what it lacks is told now; empty for the loss."""
    if metric == "loss":
        return ""
    options = completed(MetricOptions(), data.languages, lowercase=data.tokenizers.target.lowercase)
    return create_metric(metric, options, num_references=data.num_targets["valid"]).signature


def _finished(
    settings: TrainOptions,
    model: Any,
    data: DataDirectory,
    result: TrainingResult,
    score: Callable[[], dict[str, float]],
    ranks: Ranks,
    out: Path,
) -> dict[str, Any]:
    """Saves the model, and returns what is worth recording of its training."""
    scores, chosen = dict(result.scores), {}
    if model.traits.experts:
        scores, chosen = _validated(model, score, settings.metric)
        cast(HasLogMetrics, model).log_metrics()  # what is not told any more is no part of the model
    if tied := equals(result.history, settings.metric):
        chosen[f"equal_{settings.metric}"] = f"updates {', '.join(map(str, tied))}: the lowest loss decided"
    if settings.max_positions:
        longer = np.maximum(data.train.source_lengths, data.train.target_lengths) + 1
        chosen["pairs_left_out"] = int((longer > settings.max_positions).sum())
    if ranks.first:
        save_model(model, data.tokenizers, out / "model", languages=data.languages)
    ranks.barrier()
    return {
        "updates": result.updates,
        "averaged": ", ".join(str(update) for update in result.averaged),
        "precision": result.precision,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "valid": scores,
        **chosen,
    }


def _opened(directory: Path) -> tuple[DataDirectory, Store]:
    """The data and its validation part; raises UserError if there is none, or if a part was altered."""
    data = DataDirectory.open(directory)
    if data.valid is None:
        raise UserError(
            f"{directory}: holds no validation data, which choosing a checkpoint needs; "
            "run `seqdistill prepare` with --valid-source and --valid-target, or --valid-size"
        )
    return data, data.valid


def _validated(
    model: Any, score: Callable[[], dict[str, float]], metric: str
) -> tuple[dict[str, float], dict[str, Any]]:
    """Validation scores; for a mixture those of its best expert, which is chosen, and a report of the choice.

    So a dead expert does not decide which checkpoint is kept.
    """
    if not model.traits.experts:
        return score(), {}
    mixture, rows = cast(ExpertsModel, model), []
    for number in range(1, mixture.num_experts + 1):
        mixture.choose(number)
        rows.append(score())
    best = min(range(len(rows)), key=lambda number: rank(rows[number], metric))
    mixture.choose(best + 1)
    return rows[best], {"expert": best + 1, "valid_by_expert": [round(row[metric], 4) for row in rows]}
