"""Where and on how much a verb runs, and what is drawn at random."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seqdistill.options.base import Options

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""What every generator here takes: Python's, numpy's and torch's."""
MOST_PROCESSES = 1024
"""Processes, threads or devices side by side."""


class SeedOptions(Options):
    """The one seed of a stage."""

    seed: Seed = Field(
        default=1, description="Seed of all that is drawn: held-out pairs, weights, batches, dropout, samples."
    )


class DeviceOptions(Options):
    """The device that computes."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1, or auto: a GPU if there is one.")


class PrecisionOptions(Options):
    """What numbers matrices are multiplied in."""

    precision: str = Field(
        default="auto",
        description="Of matrices: float32 (the same weights on every machine), bfloat16, or auto: on a GPU bfloat16, "
        "on a CPU that computes it the faster one, timed before the first update.",
    )


class WorkersOptions(Options):
    """How many work side by side."""

    workers: int = Field(
        default=0,
        ge=0,
        le=MOST_PROCESSES,
        description="Processes side by side, or threads that align; 0: one a core, or as the engine uses all cores.",
    )


class BootstrapOptions(Options):
    """Resampling of sentences, for intervals and tests."""

    samples: int = Field(
        default=1000,
        ge=40,
        le=1_000_000,
        description="Resamples of sentences for intervals; 95 % ones need 40 at least.",
    )
    bootstrap_seed: Seed = Field(default=12345, description="Seed of the resampling; the default is sacreBLEU's.")
