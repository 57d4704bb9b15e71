"""Options of `bench`: which models are measured side by side, on which text and how often."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from seqdistill.errors import UserError
from seqdistill.options.decoding import WritingOptions
from seqdistill.options.inputs import TargetLanguageOptions
from seqdistill.options.running import MOST_PROCESSES, BootstrapOptions
from seqdistill.options.scoring import BleuOptions, TestTextOptions, TimingOptions


class BenchOptions(
    WritingOptions, TestTextOptions, TimingOptions, BleuOptions, TargetLanguageOptions, BootstrapOptions
):
    """Speed, memory, size and quality of several models on the same sentences."""

    inputs = ("models", "data", "source", "reference")
    arguments = ("models",)
    without = (
        *("n_best", "sampling", "top_k", "top_p", "temperature", "seed", "rescoring_samples"),
        *("device", "expert", "penalty_file", "prefix", "prefix_file", "allowed_file", "rerank"),
    )

    models: list[Path] = Field(
        description="What to measure: trained models, exported ones, or models of CTranslate2; the others' speed is "
        "also shown as a factor of the first one's."
    )
    every_engine: bool = Field(
        default=False,
        description="Measure each model with every engine that can run it; default: the one it is deployed with.",
    )
    cores: int = Field(default=1, ge=1, le=MOST_PROCESSES, description="Cores that a model may use.")
    rounds: int = Field(
        default=5, ge=1, le=1000, description="Turns of each model, which alternate; the medians of them count."
    )

    @model_validator(mode="after")
    def _check_bench(self) -> BenchOptions:
        if not self.models:
            raise UserError("models: expected one directory or more, found none; name the models to measure")
        if self.speed_lines == 0:
            raise UserError("speed_lines 0 leaves nothing to time: give 1 or more, or leave it out")
        if self.every_engine and self.engine != "auto":
            raise UserError(f"every_engine, and engine {self.engine}, both say what computes; keep one")
        return self

    @property
    def engine_of_record(self) -> str:
        """As it was asked for: `auto` runs each model as it is deployed."""
        return self.engine
