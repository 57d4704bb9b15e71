"""Is this what was asked for? One way to say what decides a result, to compare it, and to name what differs.

A `Record` lists what decides a result: its kind, its options, the hashes of what it reads. Equal records give the same
bytes on the same kind of processor with the same number of threads. Stages, data directories, decoded shards,
checkpoints and streams of batches each keep the record they were made for, and ask here before they go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError

EDITION = 3
"""Of the records; what another edition wrote is not read."""

FREE = {
    "workers": "processes or threads side by side, each with whole tasks",
    "cache": "folder of downloads",
    "scratch": "folder of temporary files",
    "save_every": "checkpoints besides those at validations",
    "keep": "newest checkpoints kept",
    "log_every": "rows of the log",
    "tensorboard": "the log in a second form",
    "threads": "order of sums, so the last bits: `machine`",
    "device": "order of sums, so the last bits: `machine`",
    "teacher_device": "as device",
    "comet_gpus": "as device",
}
"""Options that are never compared, and what they change instead. `run --jobs` is another number of threads. What
changes the last bits of a result (threads, kind of processor, device) is recorded beside it, as its `machines`."""


class Growth(NamedTuple):
    """The option of which a result can be given more later, such as a training's updates."""

    option: str
    refused: str = ""
    """Why this result cannot grow; empty where it can."""


@dataclass(frozen=True)
class Record:
    """What decides a result: equal records give equal bytes."""

    kind: str
    """The verb of a stage; data, decoding, training, batches, roll-outs, rounds."""
    options: Mapping[str, Any]
    """JSON-able values; those of FREE are not kept."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Name to content hash of everything read."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of `options`: a record without an option, which came later, is one with its default."""
    growth: Growth | None = None

    @staticmethod
    def kept(recorded: Any, where: Path | str) -> Record:
        """The record that was kept at `where`; raises UserError if it is of another edition."""
        check_edition(recorded, where)
        return Record(recorded["kind"], recorded["options"], recorded["inputs"])

    def as_json(self) -> dict[str, Any]:
        """The record as it is kept."""
        options = {name: value for name, value in self.options.items() if name not in FREE}
        asked = {"kind": self.kind, "options": options, "inputs": dict(self.inputs)}
        return {"edition": EDITION} | json.loads(json.dumps(asked))

    def differences(self, recorded: Any, where: Path | str) -> list[str]:
        """What distinguishes a kept record from this one, such as `beam: 5 there, 4 now`; empty when nothing does.

        Raises:
            UserError: the record at `where` is of another edition.
        """
        there, now = Record.kept(recorded, where), self.as_json()
        if there.kind != self.kind:
            return [f"kind: {there.kind!r} there, {self.kind!r} now"]
        defaults = {name: default for name, default in self.defaults.items() if name in now["options"]}
        options = _completed(there.options, json.loads(json.dumps(defaults)))
        return differences(options, now["options"]) + differences(there.inputs, now["inputs"], "inputs.")

    def check(self, recorded: Any, where: Path | str) -> None:
        """Raises UserError unless the record kept at `where` is this one; names all that differs."""
        if changed := self.differences(recorded, where):
            raise UserError(refusal(where, self.kind, changed))


def check_edition(recorded: Any, where: Path | str) -> None:
    """Raises UserError for a record that another edition of this program wrote."""
    found = recorded.get("edition") if isinstance(recorded, Mapping) else None
    if found != EDITION:
        other = "a later" if isinstance(found, int) and found > EDITION else "an earlier"
        raise UserError(f"{where}: written by {other} edition of seqdistill; run the stage again into a new directory")


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names every key whose value differs, as `train.lr: 0.1 there, 0.2 now`."""
    rows = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, "(absent)"), after.get(key, "(absent)")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            rows += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            rows.append(f"{prefix}{key}: {old!r} there, {new!r} now")
    return rows


def _completed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options, and the default of each that they lack, also within an option that has some of its own."""
    inner = {
        name: _completed(value, defaults[name])
        for name, value in options.items()
        if isinstance(value, Mapping) and isinstance(defaults.get(name), Mapping)
    }
    return {**defaults, **options, **inner}


def refusal(where: Path | str, kind: str, changed: list[str]) -> str:
    """The message of an error: `where` holds something else than was asked for."""
    listed = "\n  ".join(changed)
    return (
        f"{where}: what is there differs from the {kind} asked for:\n  {listed}\n"
        "ask for the same again, give another directory, or delete what is there"
    )
