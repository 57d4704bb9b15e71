"""Runs a recipe that ends with `measure` (or continues it) and records the measures of its corpora.

results/NAME.json, NAME being the recipe's own:

    python -m papers.zhou2020.measures papers/zhou2020/measures-multi30k-en-de.toml --jobs 2

Rows: corpus, complexity, faithfulness, reordering, bleu and more, each with the ends of its interval; beside them what
Zhou et al. 2020 published for corpora of these names, and the test BLEU of the teacher that wrote the corpus. Figures:
CORPUS_MEASURE, as base_complexity.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from evidence.results import write_result
from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.recipe import Recipe, read_recipe
from seqdistill.verbs.systems import systems_in

MEASURES = ("complexity", "complexity_by_token", "faithfulness", "faithfulness_by_token", "reordering", "bleu")
PUBLISHED = {
    "sampling": (3.623, 3.354),
    "top10": (2.411, 2.932),
    "greedy": (1.960, 2.959),
    "base": (1.902, 2.948),
}
"""Complexity and faithfulness, table 3 of the paper (WMT 2014 English to German; base is decoded with beam 5)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time, each on its share of the cores")
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, out=given.out)
    pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    stages = [read_json(step.directory / FINISHED) for step in recipe.steps]
    measured = next(stage["results"] for stage in stages if stage["kind"] == "measure")
    rows = [row_of(row, recipe) for row in measured["corpora"]]
    path = write_result(
        recipe.name,
        claim=recipe.description + " Published: Zhou et al. 2020, table 3, on WMT 2014",
        figures={
            f"{row['corpus']}_{name}": row[name] for row in rows for name in MEASURES if row.get(name) is not None
        },
        rows=rows,
        started=time.time() - sum(stage["wall_seconds"] for stage in stages) / given.jobs,
        path=given.results,
    )
    print(f"wrote {path}")


def row_of(measured: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A corpus with its measures, rounded; what is published of it; and its teacher's BLEU on the test text."""
    name = measured["corpus"]
    row: dict[str, Any] = {"corpus": name}
    for measure in MEASURES:
        if measure in measured:
            row |= {key: round(measured[key], 4) for key in (measure, f"{measure}_low", f"{measure}_high")}
            row[f"{measure}_signature"] = measured[f"{measure}_signature"]
    if name in PUBLISHED:
        row["published_complexity"], row["published_faithfulness"] = PUBLISHED[name]
    stages = {step.name: step for step in recipe.steps}
    if stages[name].kind == "distill":
        teacher = next(need for need in stages[name].needs if stages[need].kind == "train")
        row["teacher_bleu"] = next(
            system.scores["bleu"] for system in systems_in(recipe.out) if system.training == stages[teacher].directory
        )
    return row


if __name__ == "__main__":
    with reported():
        main()
