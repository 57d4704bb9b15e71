"""Exported students beside their teacher in CTranslate2, on one core: writes bench-runtime.

    python -m benchmarks.runtime [--runs runs/multi30k-en-de,runs/multi30k-de-en] [--rounds 5] [--sentences 100]

Exports every student of finished recipes (int8, with a shortlist of its own training text, float32), and measures them
and the teacher as `seqdistill bench` does: each in its own process on the same core, in turns, sentences one by one,
then the test set in batches. Ratios are medians over rounds of ratios within one round. Two Transformers with random
weights, whose outputs are as long as their sources, are measured in CTranslate2 and in the compiled engine. Figures of
the second recipe and of further ones end in its name.

A figure whose models the run does not have is left out, with a line on standard error. Exports lie in --work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.runtime_systems import (
    Case,
    Training,
    case_of,
    made_cases,
    made_text,
    of_family,
    student_cases,
    trainings_of,
)
from evidence.script import arguments, execute, record, tell
from seqdistill.metrics.metric import Metric, reference_line
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import compare, score_interval
from seqdistill.metrics.tokenizers import completed
from seqdistill.models.saved import load_model
from seqdistill.options import MetricOptions
from seqdistill.runtime.latency import Timed, Turn, by_name, evenly_spread, ratios, rounds, spread
from seqdistill.runtime.measured import Load, MeasuredSystem, load_alone
from seqdistill.threads import core_numbers
from seqdistill.verbs.texts import TestSet, text_of_data

CLAIM = (
    "Exported students in the compiled engine beside their teacher in CTranslate2 int8, on one core: milliseconds of a "
    "sentence by itself, sentences a second in batches, quality, memory, size and time to load; and the same "
    "Transformers (2+2 layers of width 128, 3+3 of 256, random weights) in both engines"
)
TEACHER = "teacher"
WITHIN_BLEU = 0.5
"""Of its teacher with the same beam: what the best student may lose."""
MADE = {"": (2, 128), "_w256": (3, 256)}
"""Layers a side and width of the made-up Transformers, by the end of their figures' names."""
MADE_LINES = 512


class MissingError(Exception):
    """What a figure needs and the run does not have."""


class Measured(NamedTuple):
    """What was found of systems that took turns."""

    turns: Sequence[Turn[Timed]]
    outputs: Mapping[str, Sequence[str]]
    loads: Mapping[str, Load]
    disk_mb: Mapping[str, float]
    said: Mapping[str, Mapping[str, Any]]

    def milliseconds(self, name: str) -> float:
        """Median of a sentence by itself."""
        return statistics.median(by_name(self.turns, _median)[self.known(name)])

    def over(self, one: str, other: str, value: Callable[[Turn[Timed]], float] | None = None) -> float:
        """Milliseconds of one system over those of another, or another value."""
        return statistics.median(ratios(self.turns, self.known(one), self.known(other), value or _median))

    def known(self, name: str) -> str:
        """The name; raises MissingError where no such system was measured."""
        if name not in self.outputs:
            raise MissingError(name)
        return name


def _median(turn: Turn[Timed]) -> float:
    return turn.result.median


def _throughput(turn: Turn[Timed]) -> float:
    return turn.result.sentences_per_second


class Quality(NamedTuple):
    """The text that a run's systems translate, and how it is scored."""

    test: TestSet
    references: list[str]
    metric: Metric

    def bleu(self, texts: Sequence[str]) -> float:
        return self.metric.corpus(texts, self.references).value


def main() -> None:
    parser = arguments(
        __doc__,
        runs="runs/multi30k-en-de,runs/multi30k-de-en",
        rounds=5,
        sentences=100,
        work=Path("build/benchmarks/runtime"),
    )
    given = parser.parse_args()
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for end, (layers, width) in MADE.items():
        made = measure_made(given, layers=layers, width=width)
        figures |= figures_of_made(made, end)
        rows += [row_of(made, name, f"Transformer {layers}+{layers}, {width}: {name}") for name in made.outputs]
    for number, run in enumerate(map(Path, given.runs.split(","))):
        trainings = trainings_of(run)
        if TEACHER not in trainings or (data := trainings[TEACHER].data) is None:
            skip(f"all figures of {run.name}", f"a finished stage {TEACHER} and its data in {run}")
            continue
        quality = quality_of(trainings[TEACHER], data)
        found = measure_run(given, run.name, trainings, quality)
        end = f"_{run.name.replace('-', '_')}" if number else ""
        figures |= {f"{key}{end}": value for key, value in figures_of_run(trainings, found, quality).items()}
        for name in found.outputs:
            rows.append({"run": run.name} | row_of(found, name, name) | score_of(found, name, quality))
    record("bench-runtime", given, claim=CLAIM, figures=figures, rows=rows)


def measured(cases: Sequence[Case], lines: Sequence[str], given: argparse.Namespace) -> Measured:
    """Systems in turns, each in its process, on the first core."""
    core = core_numbers()[:1]
    places = evenly_spread(len(lines), given.sentences)
    single = [lines[place] for place in places]
    with ExitStack() as stack:
        systems = {
            case.name: stack.enter_context(
                MeasuredSystem(case.name, case.place, cores=core, options={"beam": case.beam})
            )
            for case in cases
        }
        said = {name: system.opened() for name, system in systems.items()}
        outputs = {name: system.together(lines).texts for name, system in systems.items()}
        loads = {name: load_alone(system, said[name]["precision"], single[:10]) for name, system in systems.items()}
        tasks = {name: partial(system.timed, single, lines) for name, system in systems.items()}
        turns = list(rounds(tasks, given.rounds, tell=tell))
    return Measured(turns, outputs, loads, {case.name: case.disk_mb for case in cases}, said)


def measure_made(given: argparse.Namespace, *, layers: int, width: int) -> Measured:
    """A made-up Transformer in both engines."""
    with ExitStack() as stack:
        cases = made_cases(given.work, stack, layers=layers, dim=width)
        return measured(cases, made_text(given.work, MADE_LINES), given)


def measure_run(given: argparse.Namespace, run: str, trainings: Mapping[str, Training], quality: Quality) -> Measured:
    """The teacher as it is deployed, and on torch; every other training as a student."""
    teacher = trainings[TEACHER].directory
    with ExitStack() as stack:
        cases = [
            case_of(teacher, "teacher ctranslate2", stack, engine="ctranslate2"),
            case_of(teacher, "teacher ctranslate2 beam 5", stack, engine="ctranslate2", beam=5),
            case_of(teacher, "teacher torch", stack, engine="torch"),
        ]
        for name, training in trainings.items():
            if name != TEACHER and training.family != "flowseq":
                cases += student_cases(training, given.work / run, stack)
        return measured(cases, quality.test.sources, given)


def quality_of(teacher: Training, data: Path) -> Quality:
    """The data's test text, scored as `evaluate` scores it."""
    test, loaded = text_of_data(data, "test"), load_model(teacher.directory)
    options = completed(
        MetricOptions(), test.languages or loaded.languages, lowercase=loaded.tokenizers.target.lowercase
    )
    references = [reference_line(each, num_references=test.num_references) for each in test.references]
    return Quality(test, references, create_metric("bleu", options, num_references=test.num_references))


def figures_of_made(made: Measured, end: str) -> dict[str, float]:
    """One Transformer in CTranslate2 over the same in the compiled engine."""
    return {
        f"transformer_ct2_over_compiled{end}": made.over("ctranslate2", "compiled"),
        f"batch_sentences_per_second_over_ct2{end}": made.over("compiled", "ctranslate2", _throughput),
        f"batch_sentences_per_second{end}": statistics.median(by_name(made.turns, _throughput)["compiled"]),
        f"transformer_avx2_over_vnni{end}": made.over("compiled avx2", "compiled"),
    }


def figures_of_run(trainings: Mapping[str, Training], found: Measured, quality: Quality) -> dict[str, float]:
    """Every figure whose systems were measured; a line about each other one."""
    figures: dict[str, float] = {}
    makers: dict[str, Callable[[], Mapping[str, float]]] = {
        "of the best student": lambda: figures_of_best(best_student(trainings, found, quality), found, quality),
        "sru_ms": lambda: figures_of_kind("sru", ("rnn",), trainings, found),
        "hybrid_ms": lambda: figures_of_kind("hybrid", ("hybrid",), trainings, found),
        "nat_int8_ms_w128": lambda: figures_of_nat(trainings, found),
    }
    for name, make in makers.items():
        try:
            figures |= make()
        except MissingError as missing:
            skip(name, str(missing))
    return figures


def best_student(trainings: Mapping[str, Training], found: Measured, quality: Quality) -> Training:
    """The fastest one that loses at most WITHIN_BLEU, as it is deployed; the one that loses least where none does.

    Raises:
        MissingError: there is no student.
    """
    teacher = quality.bleu(found.outputs["teacher ctranslate2"])
    students = [each for each in trainings.values() if f"{each.name} int8" in found.outputs]
    lost = {each.name: teacher - quality.bleu(found.outputs[_deployed(each, found)]) for each in students}
    if not students:
        raise MissingError("a finished student")
    least = max(WITHIN_BLEU, min(lost.values()))
    near = [each for each in students if lost[each.name] <= least]
    return min(near, key=lambda each: found.milliseconds(_deployed(each, found)))


def figures_of_best(student: Training, found: Measured, quality: Quality) -> dict[str, float]:
    """What is said of the best student beside its teacher."""
    deployed, int8 = _deployed(student, found), f"{student.name} int8"
    tell(f"the best student is {deployed}")
    teacher = quality.bleu(found.outputs["teacher ctranslate2"])
    return {
        "teacher_ct2_int8_over_student_int8": found.over("teacher ctranslate2", deployed),
        "teacher_beam5_ct2_int8_over_student_int8": found.over("teacher ctranslate2 beam 5", deployed),
        "teacher_torch_over_student_beam1": found.over("teacher torch", deployed),
        "student_over_teacher_bleu": quality.bleu(found.outputs[deployed]) / teacher,
        "student_bleu_below_teacher": teacher - quality.bleu(found.outputs[deployed]),
        **loss("int8_bleu", f"{student.name} float32", int8, found, quality),
        **(loss("shortlist_bleu", int8, deployed, found, quality) if deployed != int8 else {}),
        "load_ms": found.loads[deployed].milliseconds,
        "peak_mb": found.loads[deployed].peak_mb,
        "export_mb": found.disk_mb[deployed],
    }


def loss(figure: str, before: str, after: str, found: Measured, quality: Quality) -> dict[str, float]:
    """BLEU lost from one system to another, with the interval of the paired bootstrap."""
    whole, less = found.outputs[found.known(before)], found.outputs[found.known(after)]
    lost = compare(quality.metric, less, whole, quality.references)
    return {f"{figure}_loss": lost.delta, f"{figure}_low": lost.low, f"{figure}_high": lost.high}


def figures_of_kind(
    figure: str, families: Sequence[str], trainings: Mapping[str, Training], found: Measured
) -> dict[str, float]:
    """The fastest student of these families, in int8, with a shortlist where there is one."""
    students = of_family(trainings, families)
    if not students:
        raise MissingError(f"a finished training of {' or '.join(families)}")
    deployed = {each.name: _deployed(each, found) for each in students}
    name = min(deployed.values(), key=found.milliseconds)
    return {f"{figure}_ms": found.milliseconds(name), f"{figure}_avx2_over_vnni": found.over(f"{name} avx2", name)}


def figures_of_nat(trainings: Mapping[str, Training], found: Measured) -> dict[str, float]:
    """The vanilla student of width 128."""
    students = of_family(trainings, ("nat",), width=128)
    if not students:
        raise MissingError("a finished training of nat of width 128")
    name = _deployed(students[0], found)
    return {
        "nat_int8_ms_w128": found.milliseconds(name),
        "nat_ct2_teacher_over_nat": found.over("teacher ctranslate2", name),
        "nat_avx2_over_vnni": found.over(f"{name} avx2", name),
    }


def _deployed(student: Training, found: Measured) -> str:
    """In int8, with its shortlist if it has one."""
    shortlisted = f"{student.name} int8 shortlist"
    return shortlisted if shortlisted in found.outputs else found.known(f"{student.name} int8")


def row_of(found: Measured, name: str, title: str) -> dict[str, Any]:
    """A system's speed, memory and size."""
    said, load = found.said[name], found.loads[name]
    row: dict[str, Any] = {"system": title, "engine": said["engine"], "precision": said["precision"]}
    for key, value in (("latency_ms", _median), ("sentences_per_second", _throughput)):
        middle, low, high = (round(each, 4) for each in spread(by_name(found.turns, value)[name]))
        row |= {key: middle, f"{key}_low": low, f"{key}_high": high}
    row["latency_p95_ms"] = round(statistics.median(by_name(found.turns, lambda turn: turn.result.p95)[name]), 4)
    row |= {"load_ms": round(load.milliseconds, 1), "memory_mb": round(load.peak_mb, 1)}
    return row | {"disk_mb": round(found.disk_mb[name], 2), "vectors": said["instructions"] or None}


def score_of(found: Measured, name: str, quality: Quality) -> dict[str, Any]:
    """A system's BLEU with its interval."""
    score = quality.metric.corpus(found.outputs[name], quality.references)
    low, high = score_interval(quality.metric, found.outputs[name], quality.references)
    values = {"bleu": score.value, "bleu_low": low, "bleu_high": high}
    return {key: round(value, 4) for key, value in values.items()} | {"bleu_signature": score.signature}


def skip(figure: str, needed: str) -> None:
    """Says that a figure is left out."""
    sys.stderr.write(f"skipped {figure}: needs {needed}\n")


if __name__ == "__main__":
    execute(main)
