"""`train --decay-from`: a decay that is branched off another training, whose learning rate was constant until there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.journal import Record
from seqdistill.manifest import fingerprint, recorded, status
from seqdistill.options import TrainOptions
from seqdistill.training.checkpoint import saved
from seqdistill.training.growth import end_of

OWN = ("schedule", "decay", "max_updates", "validate_every", "metric", "patience", "average", "average_count")
"""Options in which a branch may differ from the training that it leaves."""


def branch_point(options: TrainOptions) -> Path | None:
    """The checkpoint that a decay begins at: the one given, or the newest stable one of the training given; else None.

    Raises:
        UserError: no training, or one whose rate is not constant, or that differs in more than its end; a checkpoint
            from its warm-up or its decay; a `max_updates` that is not beyond it.
    """
    given = options.decay_from
    if given is None:
        return None
    single = given.parent.name == "checkpoints"
    training = given.parent.parent if single else given
    if status(training) == "absent":
        raise UserError(f"{given}: expected the directory of a training, or one of its checkpoints/NNNNNNNN")
    there = Record.kept(recorded(training), training)
    schedule = there.options.get("schedule")
    if there.kind != "train" or schedule not in ("constant", "wsd") or "decay_from" in there.inputs:
        found = f"a training by schedule {schedule}" if there.kind == "train" else f"what `{there.kind}` made"
        raise UserError(f"{training}: a decay begins at a training by schedule constant or wsd, but this is {found}")
    inputs = {name: fingerprint(path) for name, path in options.given_inputs() if name != "decay_from"}
    ours = Record("train", _shared(options.recorded()), inputs, _shared(options.defaults()))
    ours.check(there.as_json() | {"options": _shared(there.options)}, training)
    end = end_of(schedule, there.options["max_updates"], there.options["decay"])
    stable = [path for path in saved(training / "checkpoints") if options.warmup <= int(path.name) <= end.stable]
    if not stable or (single and given not in stable):
        raise UserError(
            f"{given}: no checkpoint between warm-up and decay, of the updates {options.warmup} to {end.stable}; "
            f"there are {', '.join(path.name for path in stable) or 'none'}"
        )
    chosen = given if single else stable[-1]
    if options.max_updates <= int(chosen.name):
        raise UserError(f"max_updates {options.max_updates} counts the updates until {chosen} too: give more")
    return chosen


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in OWN}
