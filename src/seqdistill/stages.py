"""The verbs that leave a directory behind: run once, skipped when finished, continued when cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.decoding.penalty import FILE as PENALTY_FILE
from seqdistill.errors import UserError
from seqdistill.files import locked, read_json
from seqdistill.journal import FINISHED, UNFINISHED, Request, abandon, begin, changes, fingerprint, finish, status
from seqdistill.options import (
    DecisionTheoryOptions,
    DistillOptions,
    EvaluateOptions,
    MeasureOptions,
    ModesOptions,
    Options,
    PrepareOptions,
    TrainOptions,
    TunePenaltyOptions,
)
from seqdistill.progress import Progress
from seqdistill.verbs import decision_theory, distill, evaluate, measure, modes, prepare, train, tune_penalty


class Stage(NamedTuple):
    """A verb: its options, and what it does with them in a directory."""

    settings: type[Options]
    check: Callable[[Any], None]
    """Finds what is wrong with the options by themselves, before hours are spent on the stages before."""
    perform: Callable[[Any, Path, Progress], dict[str, Any]]
    """Writes the stage's files, returns what is worth recording."""
    outputs: tuple[str, ...]
    """Patterns of the files others read."""


STAGES: dict[str, Stage] = {
    "prepare": Stage(PrepareOptions, prepare.check, prepare.prepare, ("data.json", "*.arrow", "tokenizer/*")),
    "train": Stage(TrainOptions, train.check, train.train, ("model/**/*",)),
    "distill": Stage(DistillOptions, distill.check, distill.distill, ("data.json", "*.arrow", "tokenizer/*")),
    "tune-penalty": Stage(TunePenaltyOptions, tune_penalty.check, tune_penalty.tune_penalty, (PENALTY_FILE,)),
    "evaluate": Stage(
        EvaluateOptions,
        evaluate.check,
        evaluate.evaluate,
        ("hypotheses.txt", "references.txt", "sources.txt", "scores.json", evaluate.TRACES),
    ),
    "measure": Stage(
        MeasureOptions,
        measure.check,
        measure.measure_corpora,
        (measure.PAGE, "*/sentences.tsv", "*/*.pharaoh", "*/table.npz", "*/table.tsv.gz"),
    ),
    "decision-theory": Stage(
        DecisionTheoryOptions, decision_theory.check, decision_theory.study, ("study.json", "hmms/*.json")
    ),
    "modes": Stage(ModesOptions, modes.check, modes.study, ("modes.json",)),
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
    request = _request(kind, settings)
    if kind != "train" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"torchrun's processes share `train`, but this is `{kind}`: run it by itself")
    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun's processes the first one holds and writes the directory
        if status(out) == "finished":
            return Outcome(False, read_json(out / FINISHED)["results"])
        return Outcome(True, stage.perform(settings, out, Titled(progress, title)))
    with locked(out):
        found = begin(out, request)
        if found == "finished":
            return Outcome(False, read_json(out / FINISHED)["results"])
        started = time.time()
        try:
            results = stage.perform(settings, out, Titled(progress, title))
        except UserError:
            if found == "absent":
                abandon(out)
            raise
        outputs = sorted({path for pattern in stage.outputs for path in out.glob(pattern) if path.is_file()})
        finish(out, request, started=started, results=results, outputs=outputs)
    return Outcome(True, results)


def differing(kind: str, settings: Options, out: Path) -> list[str]:
    """What distinguishes the stage in this directory from the one asked for; empty when nothing does, or none is."""
    found = status(out)
    if found == "absent":
        return []
    recorded = read_json(out / (FINISHED if found == "finished" else UNFINISHED))
    return changes(recorded, _request(kind, settings))


def _request(kind: str, settings: Options) -> Request:
    inputs = {name: fingerprint(path) for name, path in settings.given_inputs()}
    return Request(kind, settings.of_result(), inputs, defaults=settings.defaults())


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
