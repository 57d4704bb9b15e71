"""What a user may ask of training; every value is checked where it is given."""

from __future__ import annotations

from dataclasses import dataclass

from seqdistill.errors import UserError, nearest
from seqdistill.training.optim import PRECISIONS, SCHEDULES, learning_rate

METRICS = {"bleu": True, "rouge1": True, "loss": False}
"""What may decide the best checkpoint, and whether more of it is better."""

AVERAGES = ("best", "last")
"""Which validated checkpoints the final model is the mean of."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the defaults are those of the papers where they state them (Lin et al. 2020, appendix).

    Raises:
        UserError: an unknown name (with the nearest valid one) or a value out of range.
    """

    max_updates: int
    """Updates at most."""
    learning_rate: float = 5e-4
    """Highest learning rate, reached at the end of the warm-up."""
    warmup: int = 4000
    """Updates over which the learning rate rises linearly from 0; 0: none."""
    schedule: str = "inverse-sqrt"
    """Learning rate after the warm-up: a name of SCHEDULES."""
    decay: float = 0.1
    """wsd: share of the updates, the last ones, over which the learning rate falls to 0."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Adam's decay rates of the first and second moment."""
    epsilon: float = 1e-8
    """Adam's denominator offset."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW), on every trained parameter."""
    clip_norm: float = 1.0
    """Largest Euclidean norm of an update's gradient, per label; 0: no clipping."""
    accumulate: int = 1
    """Batches of an update, over all ranks: the result does not depend on how many ranks share them."""
    precision: str = "auto"
    """float32, bfloat16 (autocast; weights and optimizer stay float32), or auto: see `precision.settle`."""
    validate_every: int = 1000
    """Updates between validations; the last update is always validated."""
    save_every: int = 0
    """Updates between checkpoints besides those at validations; 0: none. Never changes the result."""
    metric: str = "bleu"
    """What decides the best checkpoint: a name of METRICS."""
    patience: int = 0
    """Stop after this many validations in a row without a better one; 0: never."""
    keep: int = 2
    """Newest checkpoints kept; those that the final model needs are kept besides."""
    average: str = "best"
    """Which validated checkpoints the final model is the mean of: "best" by the metric, or "last"."""
    average_count: int = 1
    """How many checkpoints are averaged; 1 takes the best or the last as it is."""
    log_every: int = 50
    """Updates between rows of the log."""
    tensorboard: bool = False
    """Write TensorBoard event files besides the log; needs the package tensorboard."""
    seed: int = 1
    """Seed of dropout and of whatever the objective draws."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: a GPU if there is one."""
    threads: int = 0
    """CPU threads of this process; 0: as many as torch takes by itself."""

    def __post_init__(self) -> None:
        for option, value, valid in (
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
            ("metric", self.metric, METRICS),
            ("average", self.average, AVERAGES),
        ):
            if value not in valid:
                raise UserError(f"unknown {option} {value!r}; {nearest(value, list(valid))}")
        for option in ("max_updates", "accumulate", "validate_every", "keep", "average_count", "log_every"):
            if getattr(self, option) < 1:
                raise UserError(f"{option} must be 1 or more, but is {getattr(self, option)}")
        for option in ("warmup", "weight_decay", "clip_norm", "save_every", "patience", "threads", "seed"):
            if getattr(self, option) < 0:
                raise UserError(f"{option} must be 0 or more, but is {getattr(self, option)}")
        if self.learning_rate <= 0 or self.epsilon <= 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(
                "learning_rate and epsilon must be above 0 and betas in [0, 1); "
                f"got {self.learning_rate}, {self.epsilon}, {self.betas}"
            )
        if not 0 < self.decay < 1:
            raise UserError(f"decay must be between 0 and 1, a share of the updates, but is {self.decay}")
        if self.schedule in ("linear", "cosine") and self.warmup >= self.max_updates:
            raise UserError(
                f"schedule {self.schedule!r} falls to 0 between warmup and max_updates, but warmup is {self.warmup} "
                f"and max_updates {self.max_updates}: shorten the warm-up"
            )


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
