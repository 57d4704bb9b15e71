"""What follows from the options of a training: which score is better, and the learning rate of each update."""

from __future__ import annotations

from seqdistill.options import TrainingOptions
from seqdistill.training.optim import learning_rate

METRICS = {"bleu": True, "rouge1": True, "loss": False}
"""What may decide the best checkpoint, and whether more of it is better."""


def scheduled_rate(update: int, options: TrainingOptions, *, stable: int = 0) -> float:
    """The learning rate of an update, counted from 1, under these options; `stable`: the last one before a decay."""
    return learning_rate(
        update,
        peak=options.learning_rate,
        warmup=options.warmup,
        schedule=options.schedule,
        max_updates=options.max_updates,
        stable=stable,
    )
