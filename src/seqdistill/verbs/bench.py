"""`bench`: speed, memory, size and quality of several models on the same sentences, in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import write_json, write_text
from seqdistill.machine import processor
from seqdistill.metrics.metric import Metric, reference_line
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import score_interval
from seqdistill.metrics.tokenizers import completed
from seqdistill.options import BenchOptions, DecodingOptions, MetricOptions
from seqdistill.progress import Progress
from seqdistill.reports.bench_page import PAGE, PLOT, SPEEDS, write_bench_page
from seqdistill.runtime.deployed import Asked, System, deployed, names_of, systems_of
from seqdistill.runtime.latency import Timed, Turn, by_name, evenly_spread, ratios, rounds, spread
from seqdistill.runtime.measured import Load, MeasuredSystem, load_alone
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.text.languages import Languages
from seqdistill.text.letters import is_visible
from seqdistill.threads import core_numbers, usable_cores
from seqdistill.verbs.texts import TestSet, read_test_set

RESULTS, HYPOTHESES = "bench.json", "hypotheses"
ROUNDS = "rounds.json"
"""What was timed so far: a run that was cut off goes on after the last whole round."""
ALONE_LINES = 10
"""Sentences that the process translates whose memory is measured."""
METRICS = ("bleu", "chrf")

__all__ = ["HYPOTHESES", "PAGE", "PLOT", "RESULTS", "ROUNDS", "bench", "check"]


class _Text(NamedTuple):
    """What every system decodes."""

    test: TestSet
    single: list[str]
    """The sentences that are translated one by one."""


class _Member(NamedTuple):
    """A system in its process, and what its engine says of itself."""

    system: System
    process: MeasuredSystem
    said: dict[str, Any]


def check(settings: BenchOptions) -> None:
    """Raises UserError for more cores than there are."""
    if settings.cores > (there := usable_cores()):
        raise UserError(f"cores {settings.cores}: expected 1 to {there}, the cores that this process may use")


def bench(settings: BenchOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes bench.json, hypotheses/, bench.svg and bench.html; cut off, goes on after the last whole round.

    Raises:
        UserError: more cores than there are; no text; a directory that holds no model, or that the engine cannot run;
            an option that no system has.
    """
    check(settings)
    text = _text_of(settings)
    cores = core_numbers()[: settings.cores]
    with ExitStack() as stack:
        progress.start("opening", total=None, unit="systems")
        names_of(settings.models)  # before the first of them is read
        asked = Asked(settings.engine, settings.every_engine, settings.compute_type)
        systems = systems_of([stack.enter_context(deployed(each, asked)) for each in settings.models])
        members = _opened(systems, _given(settings), cores, stack)
        progress.advance(len(members))
        outputs = _decoded(members, text, out, progress)
        loads = _loads(members, text, progress)
        turns = _timed(members, text, settings.rounds, out, progress)
    scores = _scores(settings, systems, text.test, outputs)
    rows = [
        {**_names(member), **score, **_speed(member, turns, first=systems[0].name), **_size(member, load)}
        for member, score, load in zip(members, scores, loads, strict=True)
    ]
    results = {
        "systems": rows,
        "machine": {**processor(), "cores": usable_cores(), "cores_used": len(cores)},
        "sentences": len(text.test.sources),
        "timed_sentences": len(text.single),
        "rounds": settings.rounds,
        "notes": list(dict.fromkeys(system.deployed.note for system in systems if system.deployed.note)),
    }
    write_json(out / RESULTS, results)
    write_bench_page(results, out)
    return results


def _text_of(settings: BenchOptions) -> _Text:
    test = read_test_set(settings, verb="bench")
    lines = [line for line in test.sources if is_visible(line)]
    if not lines:
        raise UserError("the text has no sentence with words, so there is nothing to time: give another text")
    return _Text(test, [lines[place] for place in evenly_spread(len(lines), settings.speed_lines)])


def _given(settings: BenchOptions) -> dict[str, Any]:
    """The options of decoding that were asked for."""
    names = settings.model_fields_set & DecodingOptions.model_fields.keys()
    return {name: getattr(settings, name) for name in sorted(names)}


def _opened(
    systems: Sequence[System], options: dict[str, Any], cores: Sequence[int], stack: ExitStack
) -> list[_Member]:
    """Every system in its process, which the stack ends.

    Raises:
        UserError: what a process says; an option that none of the systems has (others go to those that have them).
    """
    processes = [
        stack.enter_context(MeasuredSystem(system.name, system.place, cores=cores, options=options))
        for system in systems
    ]
    said = [process.opened() for process in processes]
    for name in options:
        if all(name in each["refused"] for each in said):
            raise UserError(f"{systems[0].name}: {said[0]['refused'][name]}")
    return [_Member(*each) for each in zip(systems, processes, said, strict=True)]


def _decoded(members: Sequence[_Member], text: _Text, out: Path, progress: Progress) -> list[list[str]]:
    """The translations of the whole text by each system, which also warms it up."""
    progress.start("decoding, to warm up", total=len(members), unit="systems")
    outputs = []
    for number, member in enumerate(members, 1):
        outputs.append(member.process.together(text.test.sources).texts)
        member.process.one_by_one(text.single)
        write_text(out / HYPOTHESES / f"{number}.txt", "".join(f"{line}\n" for line in outputs[-1]))
        progress.advance()
    progress.finish()
    return outputs


def _loads(members: Sequence[_Member], text: _Text, progress: Progress) -> list[Load]:
    """What it takes to load each system, while the others wait."""
    progress.start("loading", total=len(members), unit="systems")
    loads = []
    for member in members:
        loads.append(load_alone(member.process, member.said["precision"], text.single[:ALONE_LINES]))
        progress.advance()
    progress.finish()
    return loads


def _timed(members: Sequence[_Member], text: _Text, number: int, out: Path, progress: Progress) -> list[Turn[Timed]]:
    """All turns, those of an earlier run as well; each whole round is kept at once."""
    tasks = {member.system.name: partial(member.process.timed, text.single, text.test.sources) for member in members}
    about = {"systems": list(tasks), "single": text.single, "processor": processor()}
    turns = _kept(out / ROUNDS, about)
    progress.start("timing", total=number * len(tasks), unit="turns", done=len(turns))
    for turn in rounds(tasks, number, warmup=0, done=len(turns) // len(tasks)):
        turns.append(turn)
        if len(turns) % len(tasks) == 0:
            kept = [[each.name, each.round, each.seconds, *each.result] for each in turns]
            write_sealed(out / ROUNDS, {"about": about, "turns": kept})
        progress.advance()
    progress.finish()
    return turns


def _kept(path: Path, about: Mapping[str, Any]) -> list[Turn[Timed]]:
    """Turns of an earlier run of this stage; none where it had other names or ran on another processor."""
    if not path.exists():
        return []
    kept = read_sealed(path, remedy=f"delete {path} and run the same again: it begins anew")
    if kept["about"] != about:
        return []
    return [Turn(name, number, seconds, Timed(*timed)) for name, number, seconds, *timed in kept["turns"]]


def _names(member: _Member) -> dict[str, Any]:
    """What a system is called, and how it computes."""
    instructions = {"vectors": member.said["instructions"]} if member.said["instructions"] else {}
    return {
        "system": member.system.name,
        "engine": member.system.place.engine,
        "precision": member.said["precision"],
        **instructions,
    }


def _speed(member: _Member, turns: Sequence[Turn[Timed]], *, first: str) -> dict[str, float]:
    """Medians over the rounds, with the lowest and the highest round beside them."""
    name, found = member.system.name, dict[str, float]()
    measured = (
        by_name(turns, lambda turn: turn.result.median)[name],
        by_name(turns, lambda turn: turn.result.p95)[name],
        by_name(turns, lambda turn: turn.result.sentences_per_second)[name],
        ratios(turns, first, name, lambda turn: turn.result.median),
    )
    for key, values in zip(SPEEDS, measured, strict=True):
        median, low, high = (round(value, 4) for value in spread(values))
        found |= {key: median, f"{key}_low": low, f"{key}_high": high}
    return found


def _size(member: _Member, load: Load) -> dict[str, float]:
    return {
        "load_ms": round(load.milliseconds, 1),
        "memory_mb": round(load.peak_mb, 1),
        "disk_mb": round(member.system.disk_mb, 2),
        "parameters": member.system.deployed.parameters,
    }


def _scores(
    settings: BenchOptions, systems: Sequence[System], test: TestSet, outputs: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """Scores of each system with their intervals and signatures; all in the same words, which no case tells apart where
    one system has none."""
    references = [reference_line(each, num_references=test.num_references) for each in test.references]
    known = (system.deployed.languages for system in systems if system.deployed.languages.target)
    own = MetricOptions(
        lowercase=settings.lowercase, tokenize=settings.tokenize, target_language=settings.target_language
    )
    options = completed(
        own,
        test.languages or next(known, Languages()),
        lowercase=any(system.deployed.lowercase for system in systems),
    )
    metrics = [create_metric(name, options, num_references=test.num_references) for name in METRICS]
    return [_scored(metrics, texts, references, settings) for texts in outputs]


def _scored(
    metrics: Sequence[Metric], texts: Sequence[str], references: Sequence[str], settings: BenchOptions
) -> dict[str, Any]:
    found, signatures = {}, {}
    for metric in metrics:
        score = metric.corpus(texts, references)
        low, high = score_interval(
            metric, texts, references, num_samples=settings.samples, seed=settings.bootstrap_seed
        )
        values = {metric.name: score.value, f"{metric.name}_low": low, f"{metric.name}_high": high}
        found |= {name: round(value, 4) for name, value in values.items()}
        signatures[f"{metric.name}_signature"] = (
            f"{score.signature}|bs:{settings.samples}|seed:{settings.bootstrap_seed}"
        )
    return found | signatures
