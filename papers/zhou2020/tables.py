"""Runs a recipe of non-autoregressive students, or continues it, and writes the tables of Zhou et al. 2020.

    python -m papers.zhou2020.tables papers/zhou2020/nat-multi30k-en-de.toml --jobs 2

results/NAME.json, NAME being the recipe's: a row for each training, and test BLEU as STUDENT_DATA_bleu, such as
cmlm_base_bleu; a training's stage is called STUDENT-DATA. Beside it, where the recipe has what they show:

    NAME-table-2      every student on real text: parameters, BLEU, passes, iterations, time
    NAME-figure-4     BLEU of each student by the teacher that wrote its text
    NAME-table-3      vanilla NAT by how its text was decoded
    NAME-table-4      LevT on the teacher's best output, and on the one of three that is most like the reference
    NAME-figure-5     vanilla NAT on what born-again teachers wrote, with complexity and faithfulness of that text
    NAME-figure-6     vanilla NAT on what one expert of a mixture wrote, likewise
    NAME-figure-8     vanilla NAT under five metrics, and how far they put its texts in the same order (Kendall's tau)
    NAME-best         each student on the base teacher's text beside that teacher, best validation BLEU first
    NAME-differences  what holds: paired bootstrap over sentences

Times come from papers/zhou2020/speed.py, once that has run. `--keep` leaves the rows that stand in the tables and adds
those that are missing, where one machine trained some students and another one the others; rows name their commit.
A table by data is made of this run's trainings alone where it has all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

from evidence.recipe import recipe_arguments, record_tables, run_recipe
from evidence.results import commit, read_result
from evidence.script import execute
from papers.zhou2020.differences import best, differences, in_order, pairs_of_interest
from papers.zhou2020.published import DECODING_BLEU, INTERPOLATION_BLEU, REAL_TEXT_BLEU
from papers.zhou2020.trainings import (
    DECODINGS,
    GENERATIONS,
    METRICS,
    MIXTURES,
    SIZES,
    TEACHER,
    Row,
    Rows,
    Speeds,
    Systems,
    Trainings,
    named,
    row_of,
    speeds,
    teachers_in,
)
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.options import TrainOptions
from seqdistill.recipe import Recipe
from seqdistill.verbs.systems import System, systems_in

MEASURES = ("complexity_by_token", "faithfulness_by_token")
"""Of figures 5 and 6, with their intervals and signatures."""
TIMES = (
    *("milliseconds_per_sentence", "relative_time", "times_faster_than_beam5", "times_faster_than_beam1"),
    *("relative_time_in_batches", "times_faster_in_batches_than_beam5", "times_faster_in_batches_than_beam1"),
)
"""What papers/zhou2020/speed.py measured, one sentence at a time and in batches."""


@dataclass(frozen=True)
class Study:
    """What was found in the recipe's directory and in earlier tables."""

    recipe: Recipe
    systems: Systems
    teachers: Mapping[str, System]
    """By the text they wrote; those that another recipe trained too."""
    trainings: Trainings
    here: Trainings
    """Those of this run."""
    times: Speeds
    kept: Callable[..., Rows]
    """With --keep, earlier rows of a table in front of new ones."""

    @property
    def single(self) -> str:
        """The text of the one teacher that born-again teachers and mixtures start from."""
        learned_from = {
            step.name: step.settings.data.name for step in self.recipe.steps if isinstance(step.settings, TrainOptions)
        }
        return learned_from.get("at-generation2", "base")


def main() -> None:
    parser = recipe_arguments(__doc__)
    parser.add_argument("--keep", action="store_true", help="only add rows to the tables that are there")
    given = parser.parse_args()
    recipe, _ = run_recipe(given)
    study = study_of(recipe, partial(merged, given, recipe.name), speeds(given.results / f"{recipe.name}-speed.json"))
    others = [step for step in recipe.steps if step.kind != "train" and status(step.directory) == "finished"]
    seconds = sum(read_json(step.directory / FINISHED)["wall_seconds"] for step in others)
    seconds += sum(row["training_seconds"] for row in study.trainings.values())
    given.started = time.time() - seconds / given.jobs
    wanted = [name for step in recipe.steps if step.kind == "train" and not (name := step.name).startswith(TEACHER)]
    found = len(study.trainings)
    part = "" if found == len(wanted) else f" ({found} of {len(wanted)} trainings so far)"
    record_tables(recipe.name, given, tables(study), part=part)


def merged(given: argparse.Namespace, name: str, suffix: str, rows: Rows, *key: str) -> Rows:
    """With --keep, the rows of the earlier table come before those that are about something else than they."""
    path = given.results / f"{name}{suffix}.json"
    kept: Rows = []
    if given.keep and path.exists():
        earlier = read_result(path)
        kept = [row | {"commit": row.get("commit", earlier.commit[:10])} for row in earlier.rows]
    known = {tuple(row[name] for name in key) for row in kept}
    new = [row for row in rows if tuple(row[name] for name in key) not in known]
    return [*kept, *(row | {"commit": commit(Path.cwd())[:10]} for row in new)]


def study_of(recipe: Recipe, kept: Callable[..., Rows], times: Speeds) -> Study:
    """Reads all that is finished."""
    evaluated = systems_in(recipe.out)
    systems, teachers = named(evaluated), teachers_in(evaluated)
    order = [step.name for step in recipe.steps]
    here = {key: row_of(key, system) for key, system in systems.items()}
    rows = kept("", list(here.values()), "student", "data")
    rows.sort(key=lambda row: order.index(f"{row['student']}-{row['data']}"))
    trainings = {(row["student"], row["data"]): row | time_of(row["student"], times) for row in rows}
    return Study(recipe, systems, teachers, trainings, here, times, kept)


def tables(study: Study) -> dict[str, tuple[str, Rows, dict[str, float]]]:
    """Claim, rows and figures of each table, by the end of its name."""
    wmt, single, measured = "published: Zhou et al. 2020, WMT 2014", study.single, measures_in(study.recipe)
    pairs = pairs_of_interest(single)
    by_text = partial(by_data, study.trainings, study.here)
    beside_teacher = study.kept("-best", best(study.systems, study.teachers, study.times), "student")
    gained = study.kept("-differences", differences(study.systems, pairs), "student", "difference")
    found: dict[str, tuple[str, Rows]] = {
        "-table-2": (f"Non-autoregressive students on real text; {wmt}", table_2(study.trainings, study.times)),
        "-figure-4": ("BLEU by the teacher that wrote the training text", figure_4(study.trainings)),
        "-table-3": (
            f"Vanilla NAT by how the base teacher was decoded; {wmt}",
            by_text("vanilla", DECODINGS, DECODING_BLEU),
        ),
        "-table-4": (
            f"LevT on the teacher's best output and on an interpolated one; {wmt}",
            by_text("levt", ("base", "interpolated"), INTERPOLATION_BLEU),
        ),
        "-figure-5": (
            f"Vanilla NAT on born-again teachers, {single} the first",
            with_teachers(by_text("vanilla", (single, *GENERATIONS)), study.teachers, measured),
        ),
        "-figure-6": (
            f"Vanilla NAT on one expert of a mixture, {single} of one",
            with_teachers(by_text("vanilla", (single, *MIXTURES)), study.teachers, measured),
        ),
        "-best": (
            "Each student on the base teacher's text, beside that teacher",
            sorted(beside_teacher, key=lambda row: -row["valid_bleu"]),
        ),
        "-differences": ("Differences by paired bootstrap over sentences", in_order(gained, pairs)),
    }
    return {
        "": (study.recipe.description, list(study.trainings.values()), bleus(study.trainings)),
        **{suffix: (claim, rows, {}) for suffix, (claim, rows) in found.items()},
        "-figure-8": ("Vanilla NAT by metric, and Kendall's tau of their orders", *figure_8(study.trainings)),
    }


def time_of(student: str, times: Speeds) -> Row:
    return {"relative_time": times.get(student, {}).get("relative_time")}


def bleus(trainings: Trainings) -> dict[str, float]:
    return {f"{student}_{data}_bleu": row["bleu"] for (student, data), row in trainings.items()}


def table_2(trainings: Trainings, times: Speeds) -> Rows:
    """Students on real text, and what each gains on the text of the base teacher."""
    rows = []
    for student, published in REAL_TEXT_BLEU.items():
        row = trainings.get((student, "real"))
        if row is None:
            continue
        rows.append(
            {
                "student": student,
                "parameters": row["params"],
                "bleu": row["bleu"],
                "distilled_bleu": trainings.get((student, "base"), {}).get("bleu"),
                "published_bleu": published,
                "passes": row["passes"],
                "iterations": row["iterations"],
                **{name: times.get(student, {}).get(name) for name in TIMES},
                "bleu_signature": row["bleu_signature"],
            }
        )
    return rows


def figure_4(trainings: Trainings) -> Rows:
    """A row for each student, a column for each teacher."""
    rows = []
    for student in dict.fromkeys(student for student, _ in trainings):
        found = {data: row for (name, data), row in trainings.items() if name == student}
        rows.append({"student": student} | {f"bleu_{data}": found.get(data, {}).get("bleu") for data in SIZES})
        rows[-1]["bleu_signature"] = next(iter(found.values()))["bleu_signature"]
    return rows


def by_data(
    trainings: Trainings,
    here: Trainings,
    student: str,
    names: Sequence[str],
    published: Mapping[str, float] | None = None,
) -> Rows:
    """BLEU of one student on some texts; none unless it was trained on two of them at least.

    Args:
        trainings: all, also those of an earlier table.
        here: those of this run, which are compared with each other where none is missing.
    """
    found = [data for data in names if (student, data) in trainings]
    compared = here if all((student, data) in here for data in found) else trainings
    rows = []
    for data in found:
        row = compared[student, data]
        rows.append({"student": student, "data": data, "bleu": row["bleu"]})
        rows[-1] |= {"published_bleu": published.get(data)} if published else {}
        rows[-1] |= {"bleu_signature": row["bleu_signature"]}
    return rows if len(rows) > 1 else []


def with_teachers(rows: Rows, teachers: Mapping[str, System], measured: Mapping[str, Row]) -> Rows:
    """Beside each text its teacher's BLEU, and its complexity and faithfulness, where they are known."""
    for row in rows:
        if row["data"] in teachers:
            row["teacher_bleu"] = teachers[row["data"]].scores["bleu"]
        row |= measured.get(row["data"], {})
    return rows


def measures_in(recipe: Recipe) -> dict[str, Row]:
    """Complexity and faithfulness of the corpora that the recipe's measure stages have read, by their names."""
    found: dict[str, Row] = {}
    for step in recipe.steps:
        if step.kind == "measure" and status(step.directory) == "finished":
            for row in read_json(step.directory / FINISHED)["results"]["corpora"]:
                found[row["corpus"]] = {
                    name: round(value, 4) if isinstance(value, float) else value
                    for name, value in row.items()
                    if name.startswith(MEASURES)
                }
    return found


def figure_8(trainings: Trainings) -> tuple[Rows, dict[str, float]]:
    """Vanilla NAT on distilled texts, every metric; and how far each pair of metrics orders them alike."""
    columns = ("data", *METRICS, *(f"{name}_signature" for name in METRICS))
    rows = [
        {name: row[name] for name in columns}
        for (student, data), row in trainings.items()
        if student == "vanilla" and data != "real" and all(name in row for name in METRICS)
    ]
    if len(rows) < 3:
        return [], {}
    pairs = combinations(METRICS, 2)
    return rows, {f"{one}_{other}_tau": round(kendall(rows, one, other), 4) for one, other in pairs}


def kendall(rows: Rows, one: str, other: str) -> float:
    """Pairs of rows that both metrics order alike, less those that they order otherwise, over all pairs."""
    signs = [
        METRICS[one] * METRICS[other] * (first[one] - second[one]) * (first[other] - second[other])
        for first, second in combinations(rows, 2)
    ]
    return (sum(sign > 0 for sign in signs) - sum(sign < 0 for sign in signs)) / len(signs)


if __name__ == "__main__":
    execute(main)
