"""Options of the papers' studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from seqdistill.errors import UserError
from seqdistill.options.base import MOST
from seqdistill.options.inputs import CaseOptions, TargetWordsOptions
from seqdistill.options.running import SeedOptions, WorkersOptions

LARGEST = 100.0
"""Of a and b: beyond it, the softmax gives probabilities that are 0 in effect."""
Parameter = Annotated[float, Field(gt=0, le=LARGEST)]

MOST_SYMBOLS = 10**9
"""Of all training or test pairs of an HMM together: 8 GB."""


class DecisionTheoryOptions(SeedOptions, WorkersOptions):
    """Random HMMs, and students of what they say. The paper's sizes are not known to us; these take minutes."""

    a: list[Parameter] = Field(
        default=[2.0, 4.0, 8.0], description="Transition parameters are uniform on (0, a]; give it again for several a."
    )
    b: list[Parameter] = Field(
        default=[2.0, 4.0, 8.0],
        description="Emission parameters are uniform on (0, b]; every a is combined with every b.",
    )
    normalise: Literal["softmax", "sum"] = Field(
        default="softmax", description="How parameters become probabilities: softmax, or sum, which cancels a and b."
    )
    hmms: int = Field(default=50, ge=1, le=100_000, description="Random HMMs for each pair of a and b.")
    states: int = Field(default=5, ge=2, le=1000, description="States of an HMM, the target's vocabulary.")
    symbols: int = Field(default=10, ge=2, le=1000, description="Symbols that it emits, the source's vocabulary.")
    length: int = Field(default=6, ge=1, le=1000, description="Symbols of every sequence.")
    train_pairs: int = Field(default=20_000, ge=1, le=MOST, description="Training pairs of each HMM.")
    test_pairs: int = Field(default=20_000, ge=1, le=MOST, description="Held-out pairs of each HMM.")
    embedding: int = Field(default=8, ge=1, le=1000, description="Width of the BiLSTM's embeddings.")
    hidden: int = Field(default=16, ge=1, le=1000, description="Width of the BiLSTM in each direction.")
    updates: int = Field(default=300, ge=1, le=MOST, description="Updates of each BiLSTM.")
    batch: int = Field(default=256, ge=1, le=1_000_000, description="Sequences of an update.")
    first_rate: float = Field(
        default=0.02, gt=0, le=1000, description="Learning rate of the first update; it falls linearly towards 0."
    )

    @model_validator(mode="after")
    def _check_grid(self) -> DecisionTheoryOptions:
        for name, values in (("a", self.a), ("b", self.b)):
            if not values:
                raise UserError(f"{name}: expected one number or more, but got none")
            if len(set(values)) < len(values):
                raise UserError(f"{name}: {values} has a value twice, which would count the same HMMs twice; keep one")
            if self.normalise == "sum" and len(values) > 1:
                raise UserError(
                    f"{name}: {values} are {len(values)} values, but dividing by the sum cancels them: give one, or "
                    "normalise by softmax"
                )
        for name in ("train_pairs", "test_pairs"):
            if (pairs := getattr(self, name)) * self.length > MOST_SYMBOLS:
                raise UserError(
                    f"{name} {pairs:,} of length {self.length:,} are more than {MOST_SYMBOLS:,} symbols, too many for "
                    "the memory of most machines: give fewer or shorter ones"
                )
        return self


class ModesOptions(TargetWordsOptions, CaseOptions, WorkersOptions):
    """The modes study: which of the languages it was trained on a model writes, and what its data are like."""

    inputs = ("output", "language", "training_data")

    output: dict[str, Path] = Field(
        description="Outputs of a system: NAME=directory of an evaluation, or a text file; may be repeated."
    )
    language: dict[str, Path] = Field(
        description="Text of a language: NAME=file, or a data directory, whose training targets are taken; repeated."
    )
    training_data: dict[str, Path] = Field(
        default_factory=dict, description="A corpus whose complexity is measured: NAME=data directory; may be repeated."
    )
    add_k: float = Field(
        default=0.01, gt=0, le=1_000_000, description="Added to the count of every word in every language."
    )
    threshold: float | None = Field(
        default=None,
        ge=0.5,
        lt=1,
        description="Posterior of one language above which an output is in that language alone; "
        "default: halfway between uniform and certain.",
    )

    @model_validator(mode="after")
    def _check_modes(self) -> ModesOptions:
        if len(self.language) < 2:
            raise UserError(
                f"language names {', '.join(self.language) or 'none'}: expected two or more, the modes of the data; "
                "give the text of each, as de=FILE"
            )
        if not self.output:
            raise UserError("output names no system; give the outputs of one or more, as at=DIRECTORY")
        return self
