"""How outputs are scored and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from seqdistill.errors import UserError
from seqdistill.options.base import MOST, OneOrMore, Options
from seqdistill.options.decoding import (
    MOST_PENALTY,
    ComputingOptions,
    LimitOptions,
    MixedOptions,
    RefinementOptions,
    WritingOptions,
)
from seqdistill.options.inputs import (
    CaseOptions,
    DataOptions,
    ModelOptions,
    ReferenceOptions,
    ScoredWordsOptions,
    SourceOptions,
    TargetLanguageOptions,
)
from seqdistill.options.running import MOST_PROCESSES, BootstrapOptions


class BleuOptions(CaseOptions, ScoredWordsOptions):
    """How BLEU counts. TER, ROUGE, RIBES and METEOR ignore case always, as their programs; COMET never does."""


class MetricOptions(BleuOptions, TargetLanguageOptions):
    """What metrics may be told; each one reads what concerns it and prints it in its signature."""

    stem: bool = Field(default=False, description="Stem English words in ROUGE.")
    comet_model: str = Field(default="Unbabel/wmt22-comet-da", description="Model or checkpoint of the metric comet.")
    comet_gpus: int = Field(default=0, ge=0, le=MOST_PROCESSES, description="GPUs for the metric comet; 0: the CPU.")
    beer_home: Path | None = Field(
        default=None, description="Folder of an installed BEER program, for the metric beer."
    )


class ScoringOptions(MetricOptions):
    """Which metrics."""

    metrics: str = Field(
        default="bleu,chrf,ter", description="Comma-separated; `seqdistill evaluate --help` names all."
    )

    @property
    def metric_names(self) -> list[str]:
        """The metrics one by one."""
        return [name.strip() for name in self.metrics.split(",")]


class TestTextOptions(DataOptions, SourceOptions, ReferenceOptions):
    """Text to decode and its references: a part of a data directory, or files."""

    split: Literal["valid", "test"] = Field(default="test", description="Part of --data.")


class TimingOptions(Options):
    """What is timed sentence by sentence."""

    speed_lines: int = Field(default=100, ge=0, le=MOST, description="Sentences timed one by one; 0: no timing.")


class EvaluateOptions(WritingOptions, ModelOptions, MixedOptions, ScoringOptions, TestTextOptions, TimingOptions):
    """Outputs of a model, scored against references."""

    inputs = (
        *("model", "first_model", "data", "source", "reference", "penalty_file", "rerank", "beer_home"),
        *("prefix_file", "allowed_file"),
    )
    without = ("n_best",)

    model: Path  # pyright: ignore
    perplexity: bool = Field(default=True, description="Also the perplexity of the references under the model.")
    traces: int | None = Field(
        default=None,
        ge=0,
        le=MOST,
        description="Sentences whose iterations are kept for the report; default 3 of a non-autoregressive model.",
    )


class TunePenaltyOptions(ModelOptions, DataOptions, LimitOptions, RefinementOptions, BleuOptions, ComputingOptions):
    """The penalty on inserting nothing that gives a model its best validation BLEU."""

    inputs = ("model", "data")

    model: Path  # pyright: ignore
    data: Path  # pyright: ignore
    penalties: list[Annotated[float, Field(ge=-MOST_PENALTY, le=MOST_PENALTY)]] = Field(
        default=[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0],
        description="A penalty to try; give it again for several.",
    )

    @model_validator(mode="after")
    def _check_penalties(self) -> TunePenaltyOptions:
        if not self.penalties or len(set(self.penalties)) < len(self.penalties):
            raise UserError(f"penalties: expected one or more different numbers, found {self.penalties}")
        return self


class CompareOptions(ScoringOptions, SourceOptions, ReferenceOptions, BootstrapOptions):
    """Two outputs of the same text: does the difference hold?"""

    reference: Annotated[list[Path], OneOrMore]  # pyright: ignore
    num_references: int = Field(
        default=1, ge=1, le=1000, description="References on each line, with tabs between them."
    )

    @model_validator(mode="after")
    def _check_references(self) -> CompareOptions:
        if len(self.reference) > 1 and self.num_references > 1:
            raise UserError("several files of references, and num_references, both say how many a line has; keep one")
        return self
