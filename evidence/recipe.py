"""Runs a recipe (or continues it) and records its systems in results/NAME.json, NAME being the recipe's own.

    python -m evidence.recipe recipes/multi30k-en-de.toml

Figures: SYSTEM_METRIC for every metric of every evaluated system, as sru_seqkd_bleu of the stage sru-seqkd, and the
gain of each distilled student over its twin, and of the pairs that --over names, with the interval of the paired
bootstrap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.script import arguments, execute, record
from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.recipe import Recipe, read_recipe
from seqdistill.verbs.systems import System, gain, gains, row_of, systems_in


def recipe_arguments(text: str | None, *, recipe: Path | None = None) -> argparse.ArgumentParser:
    """The options of a script that runs a recipe: this one, if it is for one only."""
    parser = arguments(text, jobs=1)
    parser.add_argument("recipe", type=Path, nargs="?" if recipe else None, default=recipe)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--so-far", action="store_true", help="run nothing; use the stages that are finished")
    return parser


def run_recipe(given: argparse.Namespace) -> tuple[Recipe, dict[str, dict[str, Any]]]:
    """The recipe, run or continued, and the manifests of its finished stages; `given.started` counts all their time.

    Raises:
        UserError: no such recipe, or a fault in it, or in what a stage reads.
    """
    recipe = read_recipe(given.recipe, out=given.out)
    if not given.so_far:
        pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    finished = [step for step in recipe.steps if status(step.directory) == "finished"]
    stages = {step.name: read_json(step.directory / FINISHED) for step in finished}
    given.started = time.monotonic() - sum(stage["wall_seconds"] for stage in stages.values()) / given.jobs
    return recipe, stages


Tables = Mapping[str, tuple[str, Sequence[Mapping[str, object]], Mapping[str, float]]]
"""Claim, rows and figures of each table, by the end of its name."""


def record_tables(name: str, given: argparse.Namespace, tables: Tables, *, part: str) -> None:
    """Records each table that has rows as NAME with its end.

    Args:
        part: behind every claim, what is missing so far.
    """
    for suffix, (claim, rows, found) in tables.items():
        if rows:
            record(name + suffix, given, claim=claim + part, figures=found, rows=rows)


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument(
        "--over", nargs=2, action="append", default=[], metavar=("SYSTEM", "BASELINE"), help="compare these two also"
    )
    given = parser.parse_args()
    recipe, _ = run_recipe(given)
    systems = systems_in(recipe.out)
    rows = [row_of(system) | training_of(system) for system in systems]
    record(recipe.name, given, claim=recipe.description, figures=figures(systems, given.over), rows=rows)


def figures(systems: list[System], pairs: list[list[str]]) -> dict[str, float]:
    found, by_name = {}, {system.name: system for system in systems}
    for system in systems:
        name = system.name.replace("-", "_")
        found |= {f"{name}_{metric}": system.scores[metric] for metric in system.scores["signatures"]}
    asked = {f"{one} over {other}": gain(by_name[other], by_name[one]) for one, other in pairs}
    for name, gained in (gains(systems) | asked).items():
        name = name.replace(" ", "_").replace("-", "_")
        found |= {f"{name}_bleu": gained.delta, f"{name}_low": gained.low, f"{name}_high": gained.high}
    return found


def training_of(system: System) -> dict[str, int | float | str]:
    if system.training is None:
        return {}
    manifest = read_json(system.training / FINISHED)
    return {
        "objective": manifest["options"]["objective"],
        "seed": manifest["options"]["seed"],
        "updates": manifest["results"]["updates"],
        "training_seconds": round(manifest["wall_seconds"]),
    }


if __name__ == "__main__":
    execute(main)
