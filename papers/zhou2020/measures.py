"""Runs a recipe that ends with `measure` (or continues it) and records the measures of its corpora.

results/NAME.json, NAME being the recipe's own:

    python -m papers.zhou2020.measures papers/zhou2020/measures-multi30k-en-de.toml --jobs 2

Rows: corpus, complexity, faithfulness, reordering, bleu and more, each with the ends of its interval; beside them what
Zhou et al. 2020 published for corpora of these names, and the test BLEU of the teacher that wrote the corpus. Figures:
CORPUS_MEASURE, as base_complexity.
"""

from __future__ import annotations

from typing import Any

from evidence.recipe import recipe_arguments, run_recipe
from evidence.script import execute, record
from seqdistill.recipe import Recipe
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
    given = recipe_arguments(__doc__).parse_args()
    recipe, stages = run_recipe(given)
    measured = next(stage["results"] for stage in stages.values() if stage["kind"] == "measure")
    rows = [row_of(row, recipe) for row in measured["corpora"]]
    record(
        recipe.name,
        given,
        claim=recipe.description + " Published: Zhou et al. 2020, table 3, on WMT 2014",
        figures={
            f"{row['corpus']}_{name}": row[name] for row in rows for name in MEASURES if row.get(name) is not None
        },
        rows=rows,
    )


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
    execute(main)
