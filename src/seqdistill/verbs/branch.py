"""`train --decay-from`: a decay that is branched off another training, whose learning rate was constant until there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import sha256_json
from seqdistill.journal import Record
from seqdistill.manifest import fingerprint, recorded, status
from seqdistill.options import TrainOptions
from seqdistill.training.checkpoint import saved
from seqdistill.training.growth import end_of

OWN = ("schedule", "decay", "max_updates", "validate_every", "metric", "patience", "average", "average_count")
"""Options in which a branch may differ from the training that it leaves, and that do not decide its weights so far."""
ROUNDING = ("quantize", "quantize_from")
"""A branch may begin to round, or end it; but they decide the weights of the training that it leaves."""


def branch_input(options: TrainOptions, out: Path) -> str:
    """What decides the weights at which a decay begins: the training that is left, and the update.

    A branch that began keeps its update, whatever the training that it left has done or deleted since.

    Raises:
        UserError: there is no training.
    """
    training, there = _training(options)
    given = _shared(there.options)
    left = sha256_json({"options": given, "inputs": dict(there.inputs), "kind": there.kind})
    return f"{left}@{_update(options, out, training, there)}"


def branch_point(options: TrainOptions, out: Path) -> Path | None:
    """The checkpoint that a decay begins at: the one given, or the newest stable one of the training given; else None.

    Of a branch that has checkpoints of its own in `out`, it need not be there any more.

    Raises:
        UserError: no training, or one whose rate is not constant, or that differs in more than its end; a checkpoint
            from its warm-up or its decay; a `max_updates` that is not beyond it.
    """
    if options.decay_from is None:
        return None
    training, there = _training(options)
    schedule = there.options.get("schedule")
    if there.kind != "train" or schedule not in ("constant", "wsd") or "decay_from" in there.inputs:
        found = f"a training by schedule {schedule}" if there.kind == "train" else f"what `{there.kind}` made"
        raise UserError(f"{training}: a decay begins at a training by schedule constant or wsd, but this is {found}")
    inputs = {name: fingerprint(path) for name, path in options.given_inputs() if name != "decay_from"}
    free = (*OWN, *ROUNDING)
    ours = Record("train", _shared(options.recorded(), free), inputs, _shared(options.defaults(), free))
    if differing := ours.differences(there.as_json() | {"options": _shared(there.options, free)}, training):
        raise UserError(
            f"{training}: a decay that begins there needs its options and data, but these differ:\n  "
            + "\n  ".join(differing)
            + "\ngive those of the training that is left"
        )
    update = _update(options, out, training, there)
    chosen = training / "checkpoints" / f"{update:08d}"
    stable = _stable(options, training, there)
    if chosen not in stable and not any(saved(out / "checkpoints")):
        if status(out) != "absent" and update and not chosen.exists():
            raise UserError(
                f"{out}: this branch began at update {update}, and {chosen} is gone: delete {out}, and run the same "
                "command again, which begins at the newest one"
            )
        _, last = _bounds(options, there)
        raise UserError(
            f"{options.decay_from}: no checkpoint between warm-up and decay, of the updates {options.warmup} to "
            f"{last}; there are {', '.join(path.name for path in stable) or 'none'}"
        )
    if options.max_updates <= update:
        raise UserError(f"max_updates {options.max_updates} counts the updates until {chosen} too: give more")
    return chosen


def _training(options: TrainOptions) -> tuple[Path, Record]:
    """The directory of the training that is left, and its record."""
    given = options.decay_from
    assert given is not None
    training = given.parent.parent if given.parent.name == "checkpoints" else given
    if status(training) == "absent":
        raise UserError(f"{given}: expected the directory of a training, or one of its checkpoints/NNNNNNNN")
    return training, Record.kept(recorded(training), training)


def _update(options: TrainOptions, out: Path, training: Path, there: Record) -> int:
    """The update at which the branch begins: that of the checkpoint given, that of a branch that began in `out`, or
    the newest stable one; 0 where there is none."""
    given = options.decay_from
    assert given is not None
    if given.parent.name == "checkpoints":
        return int(given.name) if given.name.isdigit() else 0
    if status(out) != "absent":
        begun = recorded(out)["inputs"].get("decay_from", "").partition("@")[2]
        if begun.isdigit() and int(begun):
            return int(begun)
    stable = _stable(options, training, there)
    return int(stable[-1].name) if stable else 0


def _stable(options: TrainOptions, training: Path, there: Record) -> list[Path]:
    """The checkpoints of the training at which a decay may begin, oldest first."""
    first, last = _bounds(options, there)
    return [path for path in saved(training / "checkpoints") if first <= int(path.name) <= last]


def _bounds(options: TrainOptions, there: Record) -> tuple[int, int]:
    """The updates between warm-up and decay of the training that is left; none of one that is no such training."""
    schedule = there.options.get("schedule")
    if schedule not in ("constant", "wsd"):
        return options.warmup, 0
    return options.warmup, end_of(schedule, there.options["max_updates"], there.options["decay"]).stable


def _shared(options: Mapping[str, Any], free: Collection[str] = OWN) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in free}
