"""Decisions by validation scores: when patience ends, and which checkpoints are averaged or kept."""

from __future__ import annotations

from collections.abc import Mapping

from seqdistill.options import TrainingOptions
from seqdistill.training.checkpoint import Validation
from seqdistill.training.growth import End
from seqdistill.training.options import METRICS


def exhausted(history: list[Validation], options: TrainingOptions) -> bool:
    """Whether the last `patience` validations brought nothing better than the best before them."""
    best = chosen(history, metric=options.metric, average="best", count=1)
    since_best = [row for row in history if row.update > max(best, default=0)]
    return 0 < options.patience <= len(since_best)


def chosen(history: list[Validation], *, metric: str, average: str, count: int) -> list[int]:
    """Updates of the `count` best validations by a metric, or of the last; in order of time.

    Of equals by the metric, those of lower loss (a BLEU of 0 says nothing, their loss does); then the first.
    """
    rows = history
    if average == "best":
        # Best first; `sorted` keeps the order of equals, so the earlier one is taken.
        rows = sorted(history, key=lambda row: rank(row.scores, metric))[:count]
    return sorted(row.update for row in rows[-count:])


def rank(scores: Mapping[str, float], metric: str) -> tuple[float, float]:
    """A key that is lowest for the best scores: by the metric, and of equals by the loss."""
    return (-1 if METRICS[metric] else 1) * scores[metric], scores.get("loss", 0.0)


def equals(history: list[Validation], metric: str) -> list[int]:
    """Updates that are equal to the best by the metric, so that their loss decides; none where one is best alone."""
    best = min((rank(row.scores, metric)[0] for row in history), default=0.0)
    found = [row.update for row in history if rank(row.scores, metric)[0] == best]
    return found if len(found) > 1 else []


def regular(history: list[Validation], options: TrainingOptions) -> list[Validation]:
    """The validations that these options ask for; the last one of a shorter training, grown since, is left out."""
    return [row for row in history if row.update % options.validate_every == 0 or row.update == options.max_updates]


def final_updates(history: list[Validation], options: TrainingOptions) -> list[int]:
    """Updates of the checkpoints whose mean is the final model."""
    return chosen(history, metric=options.metric, average=options.average, count=options.average_count)


def needed_updates(history: list[Validation], options: TrainingOptions, end: End) -> list[int]:
    """Updates of the checkpoints that this training needs at its end, or a longer one that it may grow to."""
    grown = [row for row in history if row.update % options.validate_every == 0 and row.update <= end.stable]
    needed = [end.stable]
    for rows in (history, grown):
        needed += final_updates(rows, options) + chosen(rows, metric=options.metric, average="best", count=1)
    return needed
