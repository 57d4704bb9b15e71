"""How a model is trained, and what it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from seqdistill.errors import UserError
from seqdistill.options.base import MOST, Options
from seqdistill.options.inputs import DataOptions, ModelOptions, TeacherOptions
from seqdistill.options.rollouts import RolloutOptions
from seqdistill.options.running import MOST_PROCESSES, DeviceOptions, PrecisionOptions, SeedOptions


class TrainingOptions(SeedOptions, DeviceOptions, PrecisionOptions):
    """What the training loop reads; defaults are those of the papers where they state them (Lin et al. 2020)."""

    max_updates: int = Field(default=100_000, ge=1, le=MOST, description="Updates at most.")
    accumulate: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Batches whose gradients are added for one update, over all of torchrun's processes.",
    )
    learning_rate: float = Field(
        default=5e-4, gt=0, le=1000, description="Highest learning rate, at the end of the warm-up."
    )
    warmup: int = Field(
        default=4000, ge=0, le=MOST, description="Updates over which the learning rate rises linearly from 0; 0: none."
    )
    schedule: Literal["inverse-sqrt", "constant", "wsd", "linear", "cosine"] = Field(
        default="inverse-sqrt",
        description="Learning rate after the warm-up: inverse-sqrt, constant, wsd (constant, then a decay), linear or "
        "cosine. A training by one of the first three can be given more updates later.",
    )
    decay: float = Field(
        default=0.1, gt=0, lt=1, description="wsd: share of the updates over which the rate falls to 0."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1000, description="Decoupled weight decay (AdamW), on every parameter."
    )
    clip_norm: float = Field(
        default=1.0, ge=0, le=MOST, description="Largest norm of an update's gradient per label; 0: no clipping."
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # pyright: ignore
    quantize: Literal["int8"] | None = Field(
        default=None,
        description="Round in training as an int8 export does (fake quantisation), so that the export loses next to "
        "nothing; validations score the rounded model.",
    )
    quantize_from: int = Field(
        default=1,
        ge=1,
        le=MOST,
        description="--quantize: first update that is rounded; validations before it are rounded too.",
    )
    validate_every: int = Field(
        default=1000, ge=1, le=MOST, description="Updates between validations; the last is always validated."
    )
    save_every: int = Field(
        default=0, ge=0, le=MOST, description="Updates between checkpoints besides validations; 0: none."
    )
    metric: Literal["bleu", "rouge1", "loss"] = Field(
        default="bleu", description="What decides the best checkpoint: bleu, rouge1 or loss."
    )
    patience: int = Field(
        default=0, ge=0, le=MOST, description="Stop after this many validations without a better one; 0: never."
    )
    keep: int = Field(
        default=2, ge=1, le=MOST, description="Newest checkpoints kept; the final model's are kept besides."
    )
    average: Literal["best", "last"] = Field(
        default="best", description="Final model: mean of the best or of the last validated checkpoints."
    )
    average_count: int = Field(
        default=1, ge=1, le=1000, description="Checkpoints averaged; 1 takes the best (or last) one."
    )
    log_every: int = Field(default=50, ge=1, le=MOST, description="Updates between rows of the log.")
    tensorboard: bool = Field(default=True, description="Write TensorBoard event files.")
    threads: int = Field(
        default=0,
        ge=0,
        le=MOST_PROCESSES,
        description="CPU threads; 0: one a core. Another number changes the last bits of the weights.",
    )

    @model_validator(mode="after")
    def _check_schedule(self) -> TrainingOptions:
        if self.schedule in ("linear", "cosine") and self.warmup >= self.max_updates:
            raise UserError(
                f"schedule {self.schedule!r} falls to 0 between warmup and max_updates, but warmup is {self.warmup} "
                f"and max_updates {self.max_updates}: shorten the warm-up"
            )
        return self

    @model_validator(mode="after")
    def _check_quantize(self) -> TrainingOptions:
        if self.quantize is None and self.quantize_from != 1:
            raise UserError("quantize_from is the first update of quantize: give quantize 'int8', or leave it out")
        if self.quantize_from > self.max_updates:
            raise UserError(
                f"quantize_from {self.quantize_from} is after the last update, max_updates {self.max_updates}: nothing "
                "would be trained for int8; begin earlier"
            )
        return self


class DivergenceOptions(Options):
    """How far a student is from its teacher's whole distribution: objectives with +full."""

    divergence: Literal["cross-entropy", "forward-kl", "reverse-kl", "js"] = Field(
        default="cross-entropy", description="+full: cross-entropy, forward-kl, reverse-kl or js (Jensen-Shannon)."
    )
    skew: float = Field(default=0.5, ge=0, le=1, description="+full, js: near 0 as forward-kl, near 1 as reverse-kl.")
    divergence_temperature: float = Field(
        default=1.0, ge=0.001, le=1000, description="+full: both models' logits are divided by it."
    )
    teacher_top_k: int = Field(
        default=0, ge=0, le=MOST, description="+full: the teacher's k best tokens and the rest as one; 0: all."
    )

    @model_validator(mode="after")
    def _check_skew(self) -> DivergenceOptions:
        if self.divergence != "js" and self.skew != DivergenceOptions.model_fields["skew"].default:
            raise UserError(f"skew is for divergence 'js', but divergence is {self.divergence!r}: leave skew out")
        return self


def plain_values(given: Any) -> Any:
    """Numbers of numpy as those of Python; what is no table stays as it is."""
    if not isinstance(given, Mapping):
        return given
    return {key: value.item() if hasattr(value, "item") else value for key, value in given.items()}


class TrainOptions(TrainingOptions, DivergenceOptions, RolloutOptions, TeacherOptions, ModelOptions, DataOptions):
    """A model trained on a data directory."""

    inputs = ("data", "init", "start_from", "teacher", "decay_from")
    helps: ClassVar[Mapping[str, str]] = {
        "model": "A model by name, such as transformer-base, sru, hybrid or mixture, or of those that write all words "
        "at once nat, inat, cmlm, inst, levt or flowseq."
    }

    data: Path  # pyright: ignore
    model: str  # pyright: ignore
    set: Annotated[dict[str, Any], BeforeValidator(plain_values)] = Field(
        default_factory=dict, description="Change a value of the model's configuration: KEY=VALUE, may be repeated."
    )
    objective: Literal["nll", "nll+full", "imitkd", "imitkd+full", "dagger", "dagger+full"] = Field(
        default="nll",
        description="What is learned from: nll (the data's own targets), imitkd (roll-outs of the student, labelled by "
        "the teacher), dagger (rounds of roll-outs, kept); with +full: the teacher's whole distribution.",
    )
    init: Path | None = Field(default=None, description="Start from the weights of this trained model.")
    start_from: Path | None = Field(
        default=None,
        description="Start from layers of this trained model, such as the teacher: embeddings, encoder and decoder "
        "layers where the widths agree; the rest is drawn anew.",
    )
    start_encoder: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        default=[],
        description="--start-from: its encoder layers to copy, from 1, into the student's in this order; default: "
        "evenly spread.",
    )
    start_decoder: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        default=[], description="--start-from: its decoder layers, in the same way; of one layer the default is 1."
    )
    start_rate: float = Field(
        default=1.0, ge=0, le=1, description="--start-from: factor of the learning rate of what was copied; 0: frozen."
    )
    decay_from: Path | None = Field(
        default=None,
        description="wsd: begin the decay at a checkpoint of another training by constant or wsd (its directory, or "
        "one of its checkpoints); --max-updates counts that training's updates too.",
    )
    batch_tokens: int = Field(
        default=4096, ge=1, le=MOST, description="Tokens of a batch, padding included, on its longer side."
    )
    max_positions: int | None = Field(
        default=None,
        ge=2,
        le=1_000_000,
        description="Leave out pairs with more tokens than this on a side, EOS included.",
    )
    label_smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="Probability spread evenly over the vocabulary."
    )
    teacher_device: str = Field(default="auto", description="Where the teacher runs; auto: where the student does.")
    teacher_precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="float32, bfloat16, or auto: bfloat16 on a GPU that computes it; for the teacher."
    )
    data_labels: Literal["teacher", "data"] = Field(
        default="teacher", description="imitkd: labels of targets that no roll-out replaced."
    )
    dagger_rounds: int = Field(default=5, ge=1, le=1000, description="dagger: rounds of roll-outs.")
