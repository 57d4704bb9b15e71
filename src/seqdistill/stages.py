"""The verbs that leave a directory behind: run once, skipped when finished, continued when cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.decoding.penalty import FILE as PENALTY_FILE
from seqdistill.errors import UserError
from seqdistill.files import locked
from seqdistill.journal import Growth, Record
from seqdistill.machine import is_first, machine, processes
from seqdistill.manifest import Found, abandon, begin, fingerprint, finish, look, recorded, restore, status
from seqdistill.options import (
    BenchOptions,
    DecisionTheoryOptions,
    DistillOptions,
    EvaluateOptions,
    ExportOptions,
    MeasureOptions,
    ModesOptions,
    Options,
    PrepareOptions,
    TrainOptions,
    TunePenaltyOptions,
)
from seqdistill.progress import Progress
from seqdistill.studies import decision_theory
from seqdistill.verbs import bench, branch, distill, evaluate, export, measure, modes, prepare, train, tune_penalty


class Stage(NamedTuple):
    """A verb: its options, and what it does with them in a directory."""

    settings: type[Options]
    perform: Callable[[Any, Path, Progress], dict[str, Any]]
    """Writes the stage's files, returns what is worth recording."""
    outputs: tuple[str, ...]
    """Patterns of the files others read, which are the same in every run; no hidden ones."""
    others: tuple[str, ...] = ()
    """Patterns of the files that differ from run to run, or show what the outputs hold."""
    check: Callable[[Any], None] = lambda _: None
    """Finds what is wrong with the options by themselves, before hours are spent on the stages before."""
    growth: Callable[[Any], Growth] | None = None
    """The option that may grow later, and whether it may with these options."""
    fingerprints: Mapping[str, Callable[[Any, Path], str]] = {}
    """Inputs whose content is told in a way of their own, from the options and the stage's directory."""


PROGRESS = ("checkpoints/*/*", "log.jsonl")
"""Patterns of what a stage that can grow writes on its way."""
DATA_FILES = ("data.json", "*.arrow", "tokenizer/*")

STAGES: dict[str, Stage] = {
    "prepare": Stage(PrepareOptions, prepare.prepare, DATA_FILES, check=prepare.check),
    "train": Stage(
        TrainOptions,
        train.train,
        ("model/**/*",),
        ("log.jsonl",),
        check=train.check,
        growth=train.growth,
        fingerprints={"decay_from": branch.branch_input},
    ),
    "distill": Stage(DistillOptions, distill.distill, DATA_FILES),
    "export": Stage(ExportOptions, export.export, export.OUTPUTS, (export.VERIFIED,), check=export.check),
    "tune-penalty": Stage(TunePenaltyOptions, tune_penalty.tune_penalty, (PENALTY_FILE,)),
    "evaluate": Stage(
        EvaluateOptions,
        evaluate.evaluate,
        ("hypotheses.txt", "references.txt", "sources.txt", "scores.json", evaluate.TRACES),
        ("speed.json",),
        check=evaluate.check,
    ),
    "bench": Stage(
        BenchOptions,
        bench.bench,
        (f"{bench.HYPOTHESES}/*.txt",),
        (bench.RESULTS, bench.ROUNDS, bench.PLOT, bench.PAGE),
        check=bench.check,
    ),
    "measure": Stage(
        MeasureOptions,
        measure.measure_corpora,
        (measure.PAGE, "*/sentences.tsv", "*/*.pharaoh", "*/table.npz", "*/table.tsv.gz"),
        ("*/alignment.json",),
        check=measure.check,
    ),
    "decision-theory": Stage(DecisionTheoryOptions, decision_theory.run, ("study.json", "hmms/*.json")),
    "modes": Stage(ModesOptions, modes.study, ("modes.json",), (modes.PAGE,), check=modes.check),
}


class Outcome(NamedTuple):
    """How a stage ended."""

    done_now: bool
    """False: it was finished before, and nothing was done."""
    results: dict[str, Any]


def run_stage(kind: str, settings: Options, out: Path, progress: Progress, *, title: str) -> Outcome:
    """Does a stage, unless its directory says it is done; continues it if it was cut off.

    Raises:
        UserError: the directory is in use, or holds another stage; or the verb's own errors.
    """
    stage = STAGES[kind]
    record = _record(kind, settings, out)
    if kind != "train" and processes() > 1:
        raise UserError(f"torchrun's processes share `train`, but this is `{kind}`: run it by itself")
    if not is_first():  # the first of torchrun's processes holds and writes the directory
        if look(out, record).is_done:
            return Outcome(False, recorded(out)["results"])
        return Outcome(True, stage.perform(settings, out, Titled(progress, title)))
    with locked(out):
        before = None if status(out) == "absent" else recorded(out)
        found = begin(out, record, machine=machine(getattr(settings, "threads", 0)))
        if found.is_done:
            return Outcome(False, recorded(out)["results"])
        there = _progress(out)
        title = f"{title} (grow: {found.growth})" if found.growth else title
        started = time.monotonic()
        try:
            results = stage.perform(settings, out, Titled(progress, title))
        except BaseException as error:
            if before is None and isinstance(error, UserError):
                abandon(out)
            elif before is not None and found.growth and _progress(out) == there:
                restore(out, before)  # it was ended before it grew: it is what it was
            raise
        outputs, others = (_files(out, patterns) for patterns in (stage.outputs, stage.others))
        finish(out, record, started=started, results=results, outputs=outputs, others=others)
    return Outcome(True, results)


def _progress(out: Path) -> dict[Path, int]:
    """What a stage that can grow has written so far, and how much."""
    return {path: path.stat().st_size for path in _files(out, PROGRESS)}


def _files(out: Path, patterns: Sequence[str]) -> set[Path]:
    """The files of these patterns; what is hidden is no result, such as a file that a killed run was writing."""
    found = {path for pattern in patterns for path in out.glob(pattern) if path.is_file()}
    return {path for path in found if not any(part.startswith(".") for part in path.relative_to(out).parts)}


def found_in(out: Path, kind: str, settings: Options) -> Found:
    """What a directory holds of the stage asked for; changes nothing."""
    return look(out, _record(kind, settings, out))


def _record(kind: str, settings: Options, out: Path) -> Record:
    own, growth = STAGES[kind].fingerprints, STAGES[kind].growth
    inputs = {
        name: own[name](settings, out) if name in own else fingerprint(path) for name, path in settings.given_inputs()
    }
    return Record(
        kind, settings.recorded(), inputs, settings.defaults(), growth=None if growth is None else growth(settings)
    )


class Titled:
    """Puts the stage's title before that of every task in it."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        """See `Progress`."""
        self._progress.start(f"{self._title}: {title}", total=total, unit=unit, done=done)

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        """See `Progress`."""
        self._progress.advance(amount, **fields)

    def finish(self) -> None:
        """See `Progress`."""
        self._progress.finish()
