"""Runs a recipe of non-autoregressive students (or continues it); writes the tables of Zhou et al. 2020.

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

Times come from papers/zhou2020/speed.py, once it has run. `--keep` leaves the rows that stand in the tables and adds
those that are missing, where one machine trained some students and another one the others; rows name their commit.
A table by data is made of this run's trainings alone where it has all of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from evidence.results import commit, read_result, write_result
from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.options import TrainOptions
from seqdistill.recipe import Recipe, read_recipe
from seqdistill.verbs.systems import System, gain, systems_in

TEACHER = "at-"
"""Stages of teachers are called so."""
SIZES = ("real", "tiny", "small", "base", "big")
DECODINGS = ("sampling", "top10", "greedy", "base")
GENERATIONS = ("generation2", "generation3", "generation4")
MIXTURES = ("experts3", "experts5")
METRICS = {"bleu": 1, "chrf": 1, "ter": -1, "ribes": 1, "meteor": 1}
"""Of figure 8; of TER less is better."""
MEASURES = ("complexity_by_token", "faithfulness_by_token")
"""Of figures 5 and 6, with their intervals and signatures."""
PUBLISHED_REAL = {
    "vanilla": 11.4,
    "flowseq": 18.6,
    "inat": 19.3,
    "inst": 20.9,
    "cmlm": 23.5,
    "levt": 25.2,
    "levtbig": 26.5,
}
"""BLEU on WMT 2014 English to German, trained on real text."""
PUBLISHED_DECODING = {"sampling": 6.6, "top10": 14.6, "greedy": 18.9, "base": 19.5}
PUBLISHED_INTERPOLATION = {"base": 26.94, "interpolated": 27.32}
WEAK, STRONG = "vanilla", "levt"

TIMES = (
    *("milliseconds_per_sentence", "relative_time", "times_faster_than_beam5", "times_faster_than_beam1"),
    *("relative_time_in_batches", "times_faster_in_batches_than_beam5", "times_faster_in_batches_than_beam1"),
)
"""What papers/zhou2020/speed.py measured, one sentence at a time and in batches."""

Row = dict[str, Any]
Rows = list[Row]
Systems = Mapping[tuple[str, str], System]
"""By student and data."""
Trainings = Mapping[tuple[str, str], Row]
"""Rows of NAME, by student and data."""
Speeds = Mapping[str, Mapping[str, Any]]
"""By student."""
Pair = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time, each on its share of the cores")
    parser.add_argument("--so-far", action="store_true", help="run nothing; the tables of the stages that are finished")
    parser.add_argument("--keep", action="store_true", help="only add rows to the tables that are there")
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, out=given.out)
    if not given.so_far:
        pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    evaluated = systems_in(recipe.out)
    systems, teachers = named(evaluated), teachers_in(evaluated)
    times = speeds(given.results / f"{recipe.name}-speed.json")

    def merged(suffix: str, rows: Rows, *key: str) -> Rows:
        """With --keep, the rows of the earlier table come before those that are about something else than they."""
        path = given.results / f"{recipe.name}{suffix}.json"
        kept: Rows = []
        if given.keep and path.exists():
            earlier = read_result(path)
            kept = [row | {"commit": row.get("commit", earlier.commit[:10])} for row in earlier.rows]
        known = {tuple(row[name] for name in key) for row in kept}
        new = [row for row in rows if tuple(row[name] for name in key) not in known]
        return [*kept, *(row | {"commit": commit(Path.cwd())[:10]} for row in new)]

    order = [step.name for step in recipe.steps]
    here = {key: row_of(key, system) for key, system in systems.items()}
    rows = merged("", list(here.values()), "student", "data")
    rows.sort(key=lambda row: order.index(f"{row['student']}-{row['data']}"))
    trainings = {(row["student"], row["data"]): row | time_of(row["student"], times) for row in rows}
    others = [step for step in recipe.steps if step.kind != "train" and status(step.directory) == "finished"]
    seconds = sum(read_json(step.directory / FINISHED)["wall_seconds"] for step in others)
    seconds += sum(row["training_seconds"] for row in rows)
    started = time.time() - seconds / given.jobs
    learned_from = {
        step.name: step.settings.data.name for step in recipe.steps if isinstance(step.settings, TrainOptions)
    }
    single = learned_from.get("at-generation2", "base")
    measured = measures_in(recipe)
    wanted_pairs = pairs_of_interest(single)
    wmt = "published: Zhou et al. 2020, WMT 2014"
    tables: dict[str, tuple[str, Rows, dict[str, float]]] = {
        "": (recipe.description, list(trainings.values()), bleus(trainings)),
        "-table-2": (f"Non-autoregressive students on real text; {wmt}", table_2(trainings, times), {}),
        "-figure-4": ("BLEU by the teacher that wrote the training text", figure_4(trainings), {}),
        "-table-3": (
            f"Vanilla NAT by how the base teacher was decoded; {wmt}",
            by_data(trainings, here, "vanilla", DECODINGS, PUBLISHED_DECODING),
            {},
        ),
        "-table-4": (
            f"LevT on the teacher's best output and on an interpolated one; {wmt}",
            by_data(trainings, here, "levt", ("base", "interpolated"), PUBLISHED_INTERPOLATION),
            {},
        ),
        "-figure-5": (
            f"Vanilla NAT on born-again teachers, {single} the first",
            with_teachers(by_data(trainings, here, "vanilla", (single, *GENERATIONS)), teachers, measured),
            {},
        ),
        "-figure-6": (
            f"Vanilla NAT on one expert of a mixture, {single} of one",
            with_teachers(by_data(trainings, here, "vanilla", (single, *MIXTURES)), teachers, measured),
            {},
        ),
        "-figure-8": ("Vanilla NAT by metric, and Kendall's tau of their orders", *figure_8(trainings)),
        "-best": (
            "Each student on the base teacher's text, beside that teacher",
            sorted(merged("-best", best(systems, teachers, times), "student"), key=lambda row: -row["valid_bleu"]),
            {},
        ),
        "-differences": (
            "Differences by paired bootstrap over sentences",
            in_order(merged("-differences", differences(systems, wanted_pairs), "student", "difference"), wanted_pairs),
            {},
        ),
    }
    wanted = [name for step in recipe.steps if step.kind == "train" and not (name := step.name).startswith(TEACHER)]
    part = "" if len(trainings) == len(wanted) else f" ({len(trainings)} of {len(wanted)} trainings so far)"
    for suffix, (claim, rows, found) in tables.items():
        if rows:
            name = recipe.name + suffix
            path = write_result(name, claim=claim + part, figures=found, rows=rows, started=started, path=given.results)
            print(f"wrote {path}")


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


def row_of(key: tuple[str, str], system: System) -> Row:
    """A training as the issue of its figures asks for it."""
    student, data = key
    assert system.training is not None
    manifest = read_json(system.training / FINISHED)
    row: Row = {"student": student, "data": data}
    row |= {name: system.scores[name] for name in METRICS if name in system.scores}
    row |= {name: system.scores[name] for name in ("passes", "iterations")}
    row |= {"params": system.scores["parameters"]}
    row |= {"seed": manifest["options"]["seed"], "updates": manifest["results"]["updates"]}
    row |= {"training_seconds": round(manifest["wall_seconds"])}
    return row | {f"{name}_signature": text for name, text in system.scores["signatures"].items()}


def time_of(student: str, times: Speeds) -> Row:
    return {"relative_time": times.get(student, {}).get("relative_time")}


def bleus(trainings: Trainings) -> dict[str, float]:
    return {f"{student}_{data}_bleu": row["bleu"] for (student, data), row in trainings.items()}


def table_2(trainings: Trainings, times: Speeds) -> Rows:
    """Students on real text, and what each gains on the text of the base teacher."""
    rows = []
    for student, published in PUBLISHED_REAL.items():
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


def best(systems: Systems, teachers: Mapping[str, System], times: Speeds) -> Rows:
    """A row for each student on the base teacher's text: how far its test BLEU is from the teacher's."""
    rows: Rows = []
    for (student, data), system in systems.items():
        if data != "base" or data not in teachers:
            continue
        assert system.training is not None
        row = {"student": student, "bleu": system.scores["bleu"]}
        row["valid_bleu"] = read_json(system.training / FINISHED)["results"]["valid"]["bleu"]
        row |= {"bleu_of_teacher": teachers[data].scores["bleu"]} | _difference(teachers[data], system)
        row |= {name: times.get(student, {}).get(name) for name in ("relative_time", "times_faster_than_beam5")}
        rows.append(row | {"bleu_signature": system.scores["signatures"]["bleu"]})
    return rows


def pairs_of_interest(single: str) -> list[Pair]:
    """Distillation against real text for every student; the big teacher against smaller ones for weak and strong
    students; a decoding against the next worse one; interpolation, later generations, and mixtures against what they
    start from, the text of a `single` teacher. Student, data, and the data that they are compared with."""
    wanted = [(student, "base", "real") for student in PUBLISHED_REAL]
    wanted += [(student, "big", smaller) for student in (WEAK, "cmlm", STRONG) for smaller in ("tiny", "small", "base")]
    wanted += [("vanilla", better, worse) for worse, better in pairwise(DECODINGS)]
    wanted += [(STRONG, "interpolated", "base")]
    return wanted + [("vanilla", data, single) for data in (*GENERATIONS, *MIXTURES)]


def differences(systems: Systems, wanted: Sequence[Pair]) -> Rows:
    rows = []
    for student, better, baseline in wanted:
        if (student, better) in systems and (student, baseline) in systems:
            found = _difference(systems[student, baseline], systems[student, better])
            rows.append({"student": student, "difference": f"{better} over {baseline}"} | found)
    return rows


def in_order(rows: Rows, wanted: Sequence[Pair]) -> Rows:
    order = [(student, f"{better} over {baseline}") for student, better, baseline in wanted]
    return sorted(rows, key=lambda row: order.index((row["student"], row["difference"])))


def _difference(baseline: System, system: System) -> dict[str, Any]:
    found = gain(baseline, system)
    rounded = {name: round(getattr(found, name), 4) for name in ("low", "high", "p_value")}
    return {"gain": round(found.delta, 4), **rounded, "signature": found.signature}


if __name__ == "__main__":
    with reported():
        main()
