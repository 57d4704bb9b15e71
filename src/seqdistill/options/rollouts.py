"""What a student writes while it learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seqdistill.options.decoding import DecodingOptions, SearchOptions
from seqdistill.options.running import SeedOptions


class RolloutOptions(SeedOptions):
    """Which targets the student writes, and how."""

    mixing: Literal["exponential", "linear", "inverse-sigmoid", "constant"] = Field(
        default="exponential",
        description="How the share of initial targets falls with the updates: exponential, linear, inverse-sigmoid, or "
        "constant.",
    )
    mixing_rate: float = Field(
        default=0.005, gt=0, le=1, description="Share of initial targets at the last update; 1 never rolls out."
    )
    pool: int = Field(default=4, ge=1, le=1000, description="Updates whose roll-outs are written at once.")
    rollout: SearchOptions = Field(default=SearchOptions(beam=1, max_ratio=2.0), description="Of roll-outs:")

    @property
    def decoding(self) -> DecodingOptions:
        """How the student writes; the seed also decides which examples are replaced."""
        return DecodingOptions(**self.rollout.given(), seed=self.seed)
