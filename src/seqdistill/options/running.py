"""Where and on how much a verb runs, and what is drawn at random."""

from __future__ import annotations

from pydantic import Field

from seqdistill.options.base import Options


class SeedOptions(Options):
    """The one seed of a stage."""

    seed: int = Field(
        default=1, ge=0, description="Seed of all that is drawn: held-out pairs, weights, batches, dropout, samples."
    )


class DeviceOptions(Options):
    """The device that computes."""

    device: str = Field(default="auto", description="cpu, cuda, cuda:1, or auto: a GPU if there is one.")


class WorkersOptions(Options):
    """How many work side by side."""

    workers: int = Field(
        default=0,
        ge=0,
        description="Processes side by side, or threads that align; 0: one a core, or as the engine uses all cores.",
    )


class BootstrapOptions(Options):
    """Resampling of sentences, for intervals and tests."""

    samples: int = Field(
        default=1000, ge=40, description="Resamples of sentences for intervals; 95 % ones need 40 at least."
    )
    bootstrap_seed: int = Field(default=12345, ge=0, description="Seed of the resampling; the default is sacreBLEU's.")
