"""Trainings of a recipe of imitation learning, named as Lin et al. 2020 name their variants (table 2)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.verbs.systems import System

VARIANTS = {
    ("nll", "real"): "vanilla",
    ("nll", "distilled"): "seqkd",
    ("imitkd", "real"): "imitkd",
    ("imitkd", "distilled"): "imitkdstar",
}
"""Table 2 of the paper, by objective and data; "+full" of each besides."""
TITLES = {"vanilla": "Vanilla", "seqkd": "SeqKD", "imitkd": "ImitKD", "imitkdstar": "ImitKD*"}

POOL = "pool-"
"""Stages that differ from an ImitKD + Full of seed 1 in the size of the pool alone are called so."""


@dataclass(frozen=True)
class Run:
    """A training and how it was evaluated."""

    system: str
    variant: str
    manifest: dict[str, Any]
    tests: dict[int, System]
    """By beam."""

    @property
    def seed(self) -> int:
        return int(self.manifest["options"]["seed"])


def runs_of(systems: Iterable[System]) -> Iterator[Run]:
    """Trainings whose models were evaluated, in the order of their evaluation; fine-tuned ones are left out."""
    found: dict[Path, Run] = {}
    for system in systems:
        manifest = read_json(system.training / FINISHED) if system.training else {"inputs": {"init": ""}}
        asked = read_json(system.evaluation / FINISHED)
        if "init" in manifest["inputs"] or "first_model" in asked["inputs"] or system.name.startswith(POOL):
            continue
        assert system.training is not None
        variant = variant_of(manifest["options"]["objective"], system.data)
        name = system.name.partition("-")[0]
        run = found.setdefault(system.training, Run(name, variant, manifest, {}))
        run.tests[asked["options"]["beam"]] = system
    beams = {beam for run in found.values() for beam in run.tests}
    yield from (run for run in found.values() if run.tests.keys() == beams)


def variant_of(objective: str, data: str) -> str:
    """Name of a row of table 2, such as imitkd_full."""
    contexts, plus, _ = objective.partition("+")
    return VARIANTS[contexts, data] + ("_full" if plus else "")


def title(variant: str) -> str:
    """As the paper writes it: ImitKD + Full."""
    name, full, _ = variant.partition("_full")
    return TITLES[name] + (" + Full" if full else "")


def grouped(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """Runs that differ in their seed, by system, in the order of the recipe, and variant, hard labels first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.system, run.variant), []).append(run)
    systems, variants = list(dict.fromkeys(system for system, _ in groups)), list(TITLES)

    def place(key: tuple[str, str]) -> tuple[int, bool, int]:
        name, full, _ = key[1].partition("_full")
        return systems.index(key[0]), bool(full), variants.index(name)

    return {key: groups[key] for key in sorted(groups, key=place)}


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
