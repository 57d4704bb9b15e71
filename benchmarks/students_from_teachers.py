"""Does a student that starts from its teacher learn faster? Writes students-from-teachers.

    python -m benchmarks.students_from_teachers [--run runs/multi30k-en-de] [--minutes 1,2,5,10] [--work DIR]
    python -m benchmarks.students_from_teachers --run runs/demo --minutes 1,2

The teacher, its data and its distilled text are those of a finished recipe: stages `teacher` and `data`, and what its
first distillation wrote. Another recipe's name ends the result's: students-from-teachers-demo. SRU, hybrid, a
Transformer with one decoder layer and vanilla NAT, in the teacher's widths, learn from the distilled text for so many
minutes of one core: from nothing; started from the teacher; and started, the last 40 % of the minutes by ImitKD + Full
(all but NAT, which cannot imitate). A training is as many updates as fit into its minutes, the learning rate falling to
0 at their end; how many fit is measured first, all kinds in turn, validations not counted. BLEU of test text, greedy;
the interval is that of the paired bootstrap of each start against the same student and minutes from nothing.

Everything lies in --work by the number of updates: cut off, it goes on; what was timed stays as it was.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evidence.script import arguments, execute, record, tell
from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json
from seqdistill.manifest import recorded, status
from seqdistill.models.saved import load_model
from seqdistill.options import EvaluateOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.stages import run_stage
from seqdistill.verbs.systems import System, gain, row_of, systems_in

RUN = Path("runs/multi30k-en-de")
STARTS = ("new", "started", "started, imitation")
OBJECTIVES = ("nll", "imitkd+full")
FINISH = 0.4
"""Share of the minutes that imitation has."""
TIMED_UPDATES, TIMED_ROUNDS, SETTLING = 40, 3, 8
"""Updates of a training that is timed, how often each kind is, and its first updates, which do not count."""


class Clock(Silent):
    """Seconds of each update of a training but the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def advance(self, amount: int = 1, **fields: float | str) -> None:  # noqa: ARG002
        """Called after every update."""
        now = time.perf_counter()
        if amount == 1 and self._last:
            self.seconds.append(now - self._last)
        self._last = now if amount == 1 else 0.0


class Student(NamedTuple):
    """A model by name, and its sizes."""

    model: str
    sizes: Mapping[str, Any]


class Plan(NamedTuple):
    """One student's training."""

    student: str
    start: str
    minutes: float


def main() -> None:
    parser = arguments(__doc__, run=RUN, minutes="1,2,5,10", work=Path("build/benchmarks/students"))
    given = parser.parse_args()
    given.work /= given.run.name
    students, minutes = students_of(given.run), minutes_of(given.minutes)
    rates = rates_of(students, given)
    plans = [
        Plan(name, start, each)
        for each in minutes
        for name in students
        for start in STARTS
        if not (name == "nat" and "imitation" in start)  # only students that write from left to right can imitate
    ]
    for number, plan in enumerate(plans, 1):
        tell(f"{number} of {len(plans)}: {plan.student}, {plan.start}, {plan.minutes:g} minutes")
        train(plan, students[plan.student], rates, given)
    rows = list(rows_of(plans, students, given))
    record(
        "students-from-teachers" + ("" if given.run.name == RUN.name else f"-{given.run.name}"),
        given,
        claim="Test BLEU after minutes of training on one core, of students from nothing and of students that start "
        "from their teacher",
        figures={"teacher_bleu": teacher_bleu(given.run), **figures_of(rows)},
        rows=rows,
    )


def students_of(run: Path) -> dict[str, Student]:
    """The students, in the widths of the teacher."""
    config = load_model(run / "teacher").config
    widths = {name: getattr(config, name) for name in ("dim", "ffn_dim", "heads", "encoder_layers", "norm_first")}
    return {
        "sru": Student("sru", {"dim": 3 * config.dim, "embedding_dim": config.dim, "dropout": 0.2}),
        "hybrid": Student("hybrid", widths | {"decoder_layers": 2, "dropout": 0.1}),
        "transformer": Student("transformer", widths | {"decoder_layers": 1, "dropout": 0.1}),
        "nat": Student("nat", widths | {"decoder_layers": config.decoder_layers, "dropout": 0.1}),
    }


def distilled_in(run: Path) -> Path:
    """What the first distillation of a run wrote."""
    found = (
        path for path in sorted(run.iterdir()) if status(path) == "finished" and recorded(path)["kind"] == "distill"
    )
    if (first := next(found, None)) is None:
        raise UserError(f"{run}: no finished distillation in it; run its recipe first")
    return first


def minutes_of(given: str) -> list[float]:
    """The numbers of --minutes, in ascending order."""
    try:
        found = sorted(float(part) for part in given.split(","))
    except ValueError:
        found = []
    if not found or found[0] <= 0:
        raise UserError(f"--minutes {given!r}: expected numbers above 0 with commas between them, such as 1,2,5,10")
    return found


def rates_of(students: Mapping[str, Student], given: argparse.Namespace) -> dict[str, float]:
    """Updates a minute of each student and objective, measured in turns; kept."""
    kept = given.work / "rates.json"
    if kept.exists():
        return read_json(kept)
    seconds: dict[str, list[float]] = {}
    for turn in range(TIMED_ROUNDS):
        for name, student in students.items():
            for objective in OBJECTIVES[: 1 if name == "nat" else 2]:
                clock, out = Clock(), given.work / f"timed-{turn}-{name}-{objective}"
                settings = options(student, given, objective=objective, updates=TIMED_UPDATES, timed=True)
                run_stage("train", settings, out, clock, title=out.name)
                seconds.setdefault(f"{name} {objective}", []).extend(clock.seconds[SETTLING:])
    if empty := next((kind for kind, found in seconds.items() if not found), None):
        raise UserError(f"{given.work}: {empty} was timed before, but not to the end: delete {given.work}/timed-*")
    rates = {kind: round(60 / statistics.mean(found), 1) for kind, found in seconds.items()}
    write_json(kept, rates)
    tell(f"updates a minute: {rates}")
    return rates


def options(
    student: Student, given: argparse.Namespace, *, objective: str, updates: int, timed: bool = False, **more: Any
) -> TrainOptions:
    """A training on one core. One that is only timed is an imitation of roll-outs alone, as imitation is at its end."""
    teacher = {} if objective == "nll" else {"teacher": given.run / "teacher"}
    mixing = {"mixing": "constant", "mixing_rate": 1e-6} if timed and teacher else {}
    usual = {
        **{"data": distilled_in(given.run), "model": student.model, "set": student.sizes, "objective": objective},
        **{"max_updates": updates, "validate_every": updates, "save_every": 0 if timed else 200},
        **{"schedule": "linear", "warmup": min(200, updates // 10), "learning_rate": 3e-3, "batch_tokens": 2048},
        **{"precision": "float32", "threads": 1, "tensorboard": False},
    }
    return TrainOptions(**usual | teacher | mixing | more)


def train(plan: Plan, student: Student, rates: Mapping[str, float], given: argparse.Namespace) -> None:
    """Trains a student for its minutes, and decodes the test text; what is finished is not done again."""
    folder, teacher = given.work / folder_of(plan), {"start_from": given.run / "teacher"}
    share = 1 - FINISH if "imitation" in plan.start else 1.0
    updates = max(1, round(share * plan.minutes * rates[f"{plan.student} nll"]))
    start = {} if plan.start == "new" else teacher
    settings = options(student, given, objective="nll", updates=updates, **start)
    run_stage("train", settings, folder / "trained", Silent(), title=folder.name)
    last = folder / "trained"
    if share < 1:
        updates = max(1, round(FINISH * plan.minutes * rates[f"{plan.student} imitkd+full"]))
        settings = options(
            student, given, objective="imitkd+full", updates=updates, init=last, learning_rate=1e-3, warmup=0
        )
        last = folder / "finished"
        run_stage("train", settings, last, Silent(), title=folder.name)
    scored = EvaluateOptions(model=last, data=given.run / "data", beam=1, speed_lines=0, engine="torch")
    run_stage("evaluate", scored, folder / "scores", Silent(), title=folder.name)


def folder_of(plan: Plan) -> str:
    """Where a training lies."""
    return f"{plan.student}-{plan.start.replace(', ', '-')}-{plan.minutes:g}"


def rows_of(plans: list[Plan], students: Mapping[str, Student], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each training."""
    systems: dict[Plan, System] = {}
    for plan in plans:
        folder = given.work / folder_of(plan)
        systems[plan] = system = next(each for each in systems_in(folder) if each.evaluation.name == "scores")
        stages = [folder / name for name in ("trained", "finished") if (folder / name).exists()]
        row: dict[str, Any] = {"student": plan.student, "start": plan.start, "minutes": plan.minutes}
        row["updates"] = sum(read_json(stage / "manifest.json")["options"]["max_updates"] for stage in stages)
        found = row_of(system)
        row |= {name: found[name] for name in ("bleu", "chrf", "parameters", "bleu_signature")}
        if plan.start != "new":
            over = gain(systems[plan._replace(start="new")], system)
            row |= {"over_new": over.delta, "over_new_low": over.low, "over_new_high": over.high}
        yield row | {"sizes": ", ".join(f"{key}={value}" for key, value in students[plan.student].sizes.items())}


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """BLEU by student, start and minutes."""
    return {f"{row['student']}_{row['start'].replace(', ', '_')}_{row['minutes']:g}_bleu": row["bleu"] for row in rows}


def teacher_bleu(run: Path) -> float:
    """Of the teacher itself, as its recipe scored it."""
    return next(system.scores["bleu"] for system in systems_in(run) if system.name == "teacher")


if __name__ == "__main__":
    execute(main)
