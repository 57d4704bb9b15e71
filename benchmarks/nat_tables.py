"""Runs a recipe of parallel students (or continues it) and writes its results as the tables of Zhou et al. 2020.

    python benchmarks/nat_tables.py recipes/nat-multi30k-en-de.toml --jobs 2

results/NAME.json, NAME being the recipe's: a row for each training, and test BLEU as STUDENT_DATA_bleu, such as
cmlm_base_bleu; a training's stage is called STUDENT-DATA. Beside it, where the recipe has what they show:

    NAME-table-2      every student on real text: parameters, BLEU, passes, iterations, time
    NAME-figure-4     BLEU of each student by the teacher that wrote its text
    NAME-table-3      vanilla NAT by how its text was decoded
    NAME-table-4      LevT on the teacher's best output, and on the one of three that is most like the reference
    NAME-figure-5     vanilla NAT on what born-again teachers wrote
    NAME-figure-6     vanilla NAT on what one expert of a mixture wrote
    NAME-figure-8     vanilla NAT under five metrics, and how far they put its texts in the same order (Kendall's tau)
    NAME-best         each student on the distilled text that gave it the best validation BLEU, beside its teacher
    NAME-differences  what holds: paired bootstrap over sentences

Times come from benchmarks/nat_speed.py, once it has run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.recipe import read_recipe
from seqdistill.reports.results import read_result, write_result
from seqdistill.verbs.systems import System, gain, systems_in

TEACHER = "at-"
"""Stages of teachers are called so."""
SIZES = ("real", "tiny", "small", "base", "big")
DECODINGS = ("sampling", "top10", "greedy", "base")
GENERATIONS = ("small", "generation2", "generation3", "generation4")
MIXTURES = ("small", "experts3", "experts5")
METRICS = {"bleu": 1, "chrf": 1, "ter": -1, "ribes": 1, "meteor": 1}
"""Of figure 8; of TER less is better."""
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
"""What benchmarks/nat_speed.py measured, one sentence at a time and in batches."""

Systems = Mapping[tuple[str, str], System]
"""By student and data."""
Speeds = Mapping[str, Mapping[str, Any]]
"""By student."""
Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time, each on its share of the cores")
    parser.add_argument("--so-far", action="store_true", help="run nothing; the tables of the stages that are finished")
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, out=given.out)
    if not given.so_far:
        pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    finished = [step for step in recipe.steps if status(step.directory) == "finished"]
    seconds = sum(read_json(step.directory / FINISHED)["wall_seconds"] for step in finished)
    started = time.time() - seconds / given.jobs
    evaluated = systems_in(recipe.out)
    systems, teachers = named(evaluated), teachers_in(evaluated)
    times = speeds(given.results / f"{recipe.name}-speed.json")
    wmt = "published: Zhou et al. 2020, WMT 2014"
    tables: dict[str, tuple[str, Rows, dict[str, float]]] = {
        "": (recipe.description, [row_of(key, systems[key], times) for key in systems], bleus(systems)),
        "-table-2": (f"Parallel students on real text; {wmt}", table_2(systems, times), {}),
        "-figure-4": ("BLEU by the teacher that wrote the training text", figure_4(systems), {}),
        "-table-3": (
            f"Vanilla NAT by how the base teacher was decoded; {wmt}",
            by_data(systems, "vanilla", DECODINGS, PUBLISHED_DECODING),
            {},
        ),
        "-table-4": (
            f"LevT on the teacher's best output and on an interpolated one; {wmt}",
            by_data(systems, "levt", ("base", "interpolated"), PUBLISHED_INTERPOLATION),
            {},
        ),
        "-figure-5": (
            "Vanilla NAT on born-again teachers, small the first",
            by_data(systems, "vanilla", GENERATIONS),
            {},
        ),
        "-figure-6": ("Vanilla NAT on one expert of a mixture, small of one", by_data(systems, "vanilla", MIXTURES), {}),
        "-figure-8": ("Vanilla NAT by metric, and Kendall's tau of their orders", *figure_8(systems)),
        "-best": (
            "Each student on the text that suits it best, beside its teacher",
            best(systems, teachers, times),
            {},
        ),
        "-differences": ("Differences by paired bootstrap over sentences", differences(systems), {}),
    }
    part = "" if len(finished) == len(recipe.steps) else f" ({len(finished)} of {len(recipe.steps)} stages so far)"
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


def row_of(key: tuple[str, str], system: System, times: Speeds) -> dict[str, Any]:
    """A training as the issue of its figures asks for it."""
    student, data = key
    assert system.training is not None
    manifest = read_json(system.training / FINISHED)
    row: dict[str, Any] = {"student": student, "data": data}
    row |= {name: system.scores[name] for name in METRICS if name in system.scores}
    row |= {name: system.scores[name] for name in ("passes", "iterations")}
    row |= {"relative_time": times.get(student, {}).get("relative_time"), "params": system.scores["parameters"]}
    row |= {"seed": manifest["settings"]["seed"], "updates": manifest["results"]["updates"]}
    row |= {"training_seconds": round(manifest["wall_seconds"])}
    return row | {f"{name}_signature": text for name, text in system.scores["signatures"].items()}


def bleus(systems: Systems) -> dict[str, float]:
    return {f"{student}_{data}_bleu": system.scores["bleu"] for (student, data), system in systems.items()}


def table_2(systems: Systems, times: Speeds) -> Rows:
    """Students on real text, and what each gains on the text of the base teacher."""
    rows = []
    for student, published in PUBLISHED_REAL.items():
        system = systems.get((student, "real"))
        if system is None:
            continue
        distilled = systems.get((student, "base"))
        rows.append(
            {
                "student": student,
                "parameters": system.scores["parameters"],
                "bleu": system.scores["bleu"],
                "distilled_bleu": distilled.scores["bleu"] if distilled else None,
                "published_bleu": published,
                "passes": system.scores["passes"],
                "iterations": system.scores["iterations"],
                **{name: times.get(student, {}).get(name) for name in TIMES},
                "bleu_signature": system.scores["signatures"]["bleu"],
            }
        )
    return rows


def figure_4(systems: Systems) -> Rows:
    """A row for each student, a column for each teacher."""
    rows = []
    for student in dict.fromkeys(student for student, _ in systems):
        found = {f"bleu_{data}": systems[student, data].scores["bleu"] for data in SIZES if (student, data) in systems}
        signature = next(system for (name, _), system in systems.items() if name == student).scores["signatures"]
        rows.append({"student": student} | {f"bleu_{data}": found.get(f"bleu_{data}") for data in SIZES})
        rows[-1]["bleu_signature"] = signature["bleu"]
    return rows


def by_data(systems: Systems, student: str, names: Sequence[str], published: Mapping[str, float] | None = None) -> Rows:
    """BLEU of one student on some texts; none unless it was trained on two of them at least."""
    rows = []
    for data in names:
        if (student, data) in systems:
            scores = systems[student, data].scores
            rows.append({"student": student, "data": data, "bleu": scores["bleu"]})
            rows[-1] |= {"published_bleu": published.get(data)} if published else {}
            rows[-1] |= {"bleu_signature": scores["signatures"]["bleu"]}
    return rows if len(rows) > 1 else []


def figure_8(systems: Systems) -> tuple[Rows, dict[str, float]]:
    """Vanilla NAT on distilled texts, every metric; and how far each pair of metrics orders them alike."""
    scores = {
        data: system.scores
        for (student, data), system in systems.items()
        if student == "vanilla" and data != "real" and all(name in system.scores for name in METRICS)
    }
    rows: Rows = []
    for data, found in scores.items():
        rows.append({"data": data} | {name: found[name] for name in METRICS})
        rows[-1] |= {f"{name}_signature": text for name, text in found["signatures"].items()}
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
    """A row for each student, best validation BLEU first: how far its test BLEU is from that of who wrote its text."""
    rows: list[tuple[float, dict[str, Any]]] = []
    for student in dict.fromkeys(name for name, _ in systems):
        texts = [data for name, data in systems if name == student and data in (*teachers, "interpolated")]
        if not texts:
            continue
        valid = {data: _valid_bleu(systems[student, data]) for data in texts}
        data = max(texts, key=lambda each: valid[each])
        writer = "base" if data == "interpolated" else data
        teacher, system = teachers[writer], systems[student, data]
        row = {"student": student, "data": data, "bleu": system.scores["bleu"]}
        row |= {"bleu_of_teacher": teacher.scores["bleu"]} | _difference(teacher, system)
        row |= {name: times.get(student, {}).get(name) for name in ("relative_time", "times_faster_than_beam5")}
        rows.append((valid[data], row | {"bleu_signature": system.scores["signatures"]["bleu"]}))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _valid_bleu(system: System) -> float:
    assert system.training is not None
    return read_json(system.training / FINISHED)["results"]["valid"]["bleu"]


def differences(systems: Systems) -> Rows:
    """Distillation against real text for every student; the big teacher against smaller ones for weak and strong
    students; a decoding against the next worse one; interpolation, later generations, and mixtures against what they
    start from."""
    wanted = [(student, "base", "real") for student in PUBLISHED_REAL]
    wanted += [(student, "big", smaller) for student in (WEAK, "cmlm", STRONG) for smaller in ("tiny", "small", "base")]
    wanted += [("vanilla", better, worse) for worse, better in pairwise(DECODINGS)]
    wanted += [(STRONG, "interpolated", "base")]
    wanted += [("vanilla", data, "small") for data in (*GENERATIONS[1:], *MIXTURES[1:])]
    rows = []
    for student, better, baseline in wanted:
        if (student, better) in systems and (student, baseline) in systems:
            found = _difference(systems[student, baseline], systems[student, better])
            rows.append({"student": student, "difference": f"{better} over {baseline}"} | found)
    return rows


def _difference(baseline: System, system: System) -> dict[str, Any]:
    found = gain(baseline, system)
    rounded = {name: round(getattr(found, name), 4) for name in ("low", "high", "p_value")}
    return {"gain": round(found.delta, 4), **rounded, "signature": found.signature}


if __name__ == "__main__":
    with reported():
        main()
