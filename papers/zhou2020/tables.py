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

Times come from papers/zhou2020/speed.py, once that has run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations

from evidence.recipe import recipe_arguments, record_tables, run_recipe
from evidence.script import execute
from papers.zhou2020.differences import best, differences, pairs_of_interest
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


def main() -> None:
    given = recipe_arguments(__doc__).parse_args()
    recipe, _ = run_recipe(given)
    evaluated = systems_in(recipe.out)
    order = [step.name for step in recipe.steps]
    systems = dict(sorted(named(evaluated).items(), key=lambda item: order.index("-".join(item[0]))))
    found = tables(recipe, systems, teachers_in(evaluated), speeds(given.results / f"{recipe.name}-speed.json"))
    wanted = [name for step in recipe.steps if step.kind == "train" and not (name := step.name).startswith(TEACHER)]
    part = "" if len(systems) == len(wanted) else f" ({len(systems)} of {len(wanted)} trainings so far)"
    record_tables(recipe.name, given, found, part=part)


def tables(
    recipe: Recipe, systems: Systems, teachers: Mapping[str, System], times: Speeds
) -> dict[str, tuple[str, Rows, dict[str, float]]]:
    """Claim, rows and figures of each table, by the end of its name."""
    wmt, measured = "published: Zhou et al. 2020, WMT 2014", measures_in(recipe)
    trainings = {key: row_of(key, system, times) for key, system in systems.items()}
    by_text = partial(by_data, trainings)
    learned_from = {
        step.name: step.settings.data.name for step in recipe.steps if isinstance(step.settings, TrainOptions)
    }
    single = learned_from.get("at-generation2", "base")  # whose teacher born-again teachers and mixtures start from
    return {
        "": (recipe.description, list(trainings.values()), bleus(trainings)),
        "-table-2": (f"Non-autoregressive students on real text; {wmt}", table_2(trainings, times), {}),
        "-figure-4": ("BLEU by the teacher that wrote the training text", figure_4(trainings), {}),
        "-table-3": (
            f"Vanilla NAT by how the base teacher was decoded; {wmt}",
            by_text("vanilla", DECODINGS, DECODING_BLEU),
            {},
        ),
        "-table-4": (
            f"LevT on the teacher's best output and on an interpolated one; {wmt}",
            by_text("levt", ("base", "interpolated"), INTERPOLATION_BLEU),
            {},
        ),
        "-figure-5": (
            f"Vanilla NAT on born-again teachers, {single} the first",
            with_teachers(by_text("vanilla", (single, *GENERATIONS)), teachers, measured),
            {},
        ),
        "-figure-6": (
            f"Vanilla NAT on one expert of a mixture, {single} of one",
            with_teachers(by_text("vanilla", (single, *MIXTURES)), teachers, measured),
            {},
        ),
        "-figure-8": ("Vanilla NAT by metric, and Kendall's tau of their orders", *figure_8(trainings)),
        "-best": (
            "Each student on the base teacher's text, beside that teacher",
            sorted(best(systems, teachers, times), key=lambda row: -row["valid_bleu"]),
            {},
        ),
        "-differences": (
            "Differences by paired bootstrap over sentences",
            differences(systems, pairs_of_interest(single)),
            {},
        ),
    }


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
    trainings: Trainings, student: str, names: Sequence[str], published: Mapping[str, float] | None = None
) -> Rows:
    """BLEU of one student on some texts; none unless it was trained on two of them at least."""
    rows = []
    for data in names:
        if row := trainings.get((student, data)):
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
