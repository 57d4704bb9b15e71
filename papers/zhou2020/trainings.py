"""Trainings of a recipe of non-autoregressive students, by student and by the text they learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evidence.results import read_result
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.verbs.systems import System

TEACHER = "at-"
"""Stages of teachers are called so."""
SIZES = ("real", "tiny", "small", "base", "big")
DECODINGS = ("sampling", "top10", "greedy", "base")
GENERATIONS = ("generation2", "generation3", "generation4")
MIXTURES = ("experts3", "experts5")
METRICS = {"bleu": 1, "chrf": 1, "ter": -1, "ribes": 1, "meteor": 1}
"""Of figure 8; of TER less is better."""
Row = dict[str, Any]
Rows = list[Row]
Systems = Mapping[tuple[str, str], System]
"""By student and data."""
Trainings = Mapping[tuple[str, str], Row]
"""Rows of NAME, by student and data."""
Speeds = Mapping[str, Mapping[str, Any]]
"""By student."""


def named(systems: Iterable[System]) -> dict[tuple[str, str], System]:
    """Students by their name and their data's; teachers are left out."""
    found = {}
    for system in systems:
        student, hyphen, data = system.name.partition("-")
        if hyphen and not system.name.startswith((TEACHER, f"test-{TEACHER}")):
            found[student, data] = system
    return found


def teachers_in(systems: Iterable[System]) -> dict[str, System]:
    """Teachers by the name of their data, also those that were trained by another recipe."""
    names = ((system.name.removeprefix("test-"), system) for system in systems)
    return {name.removeprefix(TEACHER): system for name, system in names if name.startswith(TEACHER)}


def speeds(path: Path) -> Speeds:
    """What was measured of each student, by its name; empty before it was."""
    return {str(row["student"]): row for row in read_result(path).rows} if path.exists() else {}


def row_of(key: tuple[str, str], system: System, times: Speeds) -> Row:
    """A training with its scores, its cost, and the signatures of the scores."""
    student, data = key
    assert system.training is not None
    manifest = read_json(system.training / FINISHED)
    row: Row = {"student": student, "data": data}
    row |= {name: system.scores[name] for name in METRICS if name in system.scores}
    row |= {name: system.scores[name] for name in ("passes", "iterations")}
    row |= {"params": system.scores["parameters"]}
    row |= {"seed": manifest["options"]["seed"], "updates": manifest["results"]["updates"]}
    row |= {"training_seconds": round(manifest["wall_seconds"])}
    row |= {f"{name}_signature": text for name, text in system.scores["signatures"].items()}
    return row | {"relative_time": times.get(student, {}).get("relative_time")}
