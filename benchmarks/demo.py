"""What the demo shows: a student's BLEU over its teacher's, how many times faster it is, and how long all takes.

    python -m benchmarks.demo [--out runs/demo]

Runs recipes/demo.toml, or continues it, and writes results/demo.json: the rows of its stage `speed`, where the teacher
runs in CTranslate2 (int8) and the exported student in the compiled engine, both greedy, one sentence at a time on one
core.
"""

from __future__ import annotations

from pathlib import Path

from evidence.recipe import recipe_arguments, run_recipe
from evidence.script import execute, record


def main() -> None:
    given = recipe_arguments(__doc__, recipe=Path("recipes/demo.toml")).parse_args()
    recipe, stages = run_recipe(given)
    teacher, student = stages["speed"]["results"]["systems"]
    record(
        recipe.name,
        given,
        claim=recipe.description,
        figures={
            "student_over_teacher_bleu": student["bleu"] / teacher["bleu"],
            "teacher_ct2_over_student": student["times_faster"],
            "minutes": sum(stage["wall_seconds"] for stage in stages.values()) / 60,
        },
        rows=stages["speed"]["results"]["systems"],
    )


if __name__ == "__main__":
    execute(main)
