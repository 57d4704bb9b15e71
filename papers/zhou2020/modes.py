"""Runs a recipe of the modes study (or continues it) and writes its result beside the published one.

    python -m papers.zhou2020.modes papers/zhou2020/modes.toml --jobs 2

results/NAME.json, NAME being the recipe's (modes, modes-multi30k): a row for each system, with the complexity of the
data it learned from, the share of its outputs in one language alone, and its scores against all references. Figures:
complexity_CORPUS and single_language_SYSTEM, in percent; with three languages also published_complexity_CORPUS (Zhou
et al. 2020, table 1, Europarl).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence.recipe import recipe_arguments, run_recipe
from evidence.script import execute, record
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, fingerprint
from seqdistill.options import ModesOptions
from seqdistill.recipe import Recipe
from seqdistill.verbs.systems import System, systems_in

PUBLISHED = {"full": 3.67, "random": 3.30, "distilled": 2.64}


def main() -> None:
    given = recipe_arguments(__doc__).parse_args()
    recipe, _ = run_recipe(given)
    figures, rows = tables(recipe)
    record(recipe.name, given, claim=recipe.description, figures=figures, rows=rows)


def tables(recipe: Recipe) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Figures and rows of the recipe's study, which is finished."""
    (study,) = (step for step in recipe.steps if isinstance(step.settings, ModesOptions))
    settings, results = study.settings, read_json(study.directory / FINISHED)["results"]
    assert isinstance(settings, ModesOptions)
    complexities = {row["corpus"]: row for row in results["corpora"]}
    published = PUBLISHED if len(results["languages"]) == 3 else {}
    figures = dict(results["figures"])
    figures |= {f"published_complexity_{name}": value for name, value in published.items() if name in complexities}
    corpora = {fingerprint(path): name for name, path in settings.training_data.items()}
    systems = {system.evaluation: system for system in systems_in(recipe.out)}
    rows = []
    for found in results["systems"]:
        system = systems.get(settings.output.get(found["system"], Path()))
        corpus = "" if system is None else corpora.get(trained_on(system), "")
        row = {"system": found["system"], "data": corpus or None}
        if corpus:
            row |= {key: value for key, value in complexities[corpus].items() if key not in ("corpus", "pairs")}
            row["published_complexity"] = published.get(corpus)
        row |= {key: value for key, value in found.items() if key != "system"} | scores_of(system)
        rows.append(row)
    return figures, rows


def trained_on(system: System) -> str:
    """Hash of the data that the system was trained on; empty where it was trained elsewhere."""
    return read_json(system.training / FINISHED)["inputs"]["data"] if system.training else ""


def scores_of(system: System | None) -> dict[str, Any]:
    """Scores against all references, with their signatures."""
    if system is None:
        return {}
    signatures = system.scores["signatures"]
    scores = {name: system.scores[name] for name in signatures}
    return scores | {f"{name}_signature": signature for name, signature in signatures.items()}


if __name__ == "__main__":
    execute(main)
