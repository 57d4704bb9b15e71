"""Does anything lie, hang, get lost or end in a traceback? Thousands of trials, drawn by a seed; writes robustness.

    python -m benchmarks.robustness [--parts command_lines,interrupts,kills,full_disks,bit_flips] [--seed 1]

Each part is done once and kept in --work; the result is written when all are there. A part that was cut off begins
again, but for command lines and bit flips, which go on where they were. Parts may run at the same time; the wall time
of the result is the sum of theirs, without trials from before one was cut off.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.robust.command_lines import command_lines
from benchmarks.robust.flips import flips
from benchmarks.robust.full_disks import full_disks
from benchmarks.robust.interrupts import interrupts
from benchmarks.robust.kills import kills
from evidence.script import arguments, execute, record, tell
from seqdistill.errors import UserError, nearest
from seqdistill.files import read_json, write_json

PARTS: dict[str, tuple[Callable[[int, int, Path], dict[str, int]], int]] = {
    "command_lines": (command_lines, 2100),
    "interrupts": (interrupts, 60),
    "kills": (kills, 100),
    "full_disks": (full_disks, 15),
    "bit_flips": (flips, 5000),
}
"""Part -> what does it with a number of trials, a seed and a folder; and the number."""
FAULTS = {"tracebacks", "hangs", "silent", "refused_wrongly", "interrupts_unclean", "kills_differing"}
FAULTS |= {"full_disks_unclean", "full_disks_differing", "flips_silent", "flips_crashed", "flips_unnamed"}


def main() -> None:
    given = arguments(
        __doc__, parts=",".join(PARTS), seed=1, scale=1.0, work=Path("build/benchmarks/robustness")
    ).parse_args()
    work = given.work.absolute()
    for part in given.parts.split(","):
        if part not in PARTS:
            raise UserError(f"--parts {part!r}: there is no such part; {nearest(part, PARTS)}")
        kept = _kept(work, part, given)
        if not kept.exists():
            began = time.monotonic()
            figures = PARTS[part][0](_count(part, given), given.seed, work)
            write_json(kept, {"seconds": round(time.monotonic() - began, 1), "figures": figures})
        tell(f"{part}: {read_json(kept)}")
    parts = {part: _kept(work, part, given) for part in PARTS}
    if missing := [part for part, kept in parts.items() if not kept.exists()]:
        tell(f"not yet done: {', '.join(missing)}; results/robustness.json is written when they are")
        return
    done = [read_json(kept) for kept in parts.values()]
    given.started = time.monotonic() - sum(part["seconds"] for part in done)
    figures = {name: value for part in done for name, value in part["figures"].items()}
    record(
        "robustness",
        given,
        claim="Trials of malformed and sound command lines, interruptions, kills, full disks and flipped bits, and "
        "how many of them ended as they should not",
        figures=figures,
        rows=[{"figure": name, "number": value, "fault": name in FAULTS} for name, value in figures.items()],
    )


def _count(part: str, given: argparse.Namespace) -> int:
    """How many trials of this part are asked for."""
    return max(1, round(PARTS[part][1] * given.scale))


def _kept(work: Path, part: str, given: argparse.Namespace) -> Path:
    """Where the result of so many trials is kept."""
    return work / f"{part}-{given.seed}-{_count(part, given)}.json"


if __name__ == "__main__":
    execute(main)
