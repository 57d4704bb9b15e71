"""Runs a recipe (or continues it) and records its systems in results/NAME.json, NAME being the recipe's own.

    python -m evidence.recipe recipes/multi30k-en-de.toml

Figures: SYSTEM_METRIC for every metric of every evaluated system, as sru_seqkd_bleu of the stage sru-seqkd, and the
gain of each distilled student over its twin, and of the pairs that --over names, with the interval of the paired
bootstrap.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from evidence.results import write_result
from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.recipe import read_recipe
from seqdistill.verbs.systems import System, gain, gains, row_of, systems_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time, each on its share of the cores")
    parser.add_argument(
        "--over", nargs=2, action="append", default=[], metavar=("SYSTEM", "BASELINE"), help="compare these two also"
    )
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, out=given.out)
    pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    stages = [read_json(step.directory / FINISHED) for step in recipe.steps]
    systems = systems_in(recipe.out)
    path = write_result(
        recipe.name,
        claim=recipe.description,
        figures=figures(systems, given.over),
        rows=[row_of(system) | training_of(system) for system in systems],
        started=time.time() - sum(stage["wall_seconds"] for stage in stages),
    )
    print(f"wrote {path}")


def figures(systems: list[System], pairs: list[list[str]]) -> dict[str, float]:
    found, by_name = {}, {system.name: system for system in systems}
    for system in systems:
        name = system.name.replace("-", "_")
        found |= {f"{name}_{metric}": system.scores[metric] for metric in system.scores["signatures"]}
    asked = {f"{one} over {other}": gain(by_name[other], by_name[one]) for one, other in pairs}
    for name, gained in (gains(systems) | asked).items():
        name = name.replace(" ", "_").replace("-", "_")
        found |= {f"{name}_bleu": gained.delta, f"{name}_low": gained.low, f"{name}_high": gained.high}
    return {name: round(value, 4) for name, value in found.items()}


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
    with reported():
        main()
