"""Single bits flipped in copies of what is stored: no verb gives other output than from the intact file, none crashes.

Each trial alters one bit of one file of a small world (`flipped.py`) and lets a verb read it, in a process of its own
that is forked after the imports. A trial is refused (a `UserError`), harmless (the output is that of the intact file),
silent (another output), or crashed (a signal, a minute without an end, an exception that is no `UserError`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.robust.cases import whole_rows
from benchmarks.robust.flipped import KINDS, Kind, build
from seqdistill.errors import UserError

SECONDS = 60
"""After which a trial counts as crashed."""
REFUSED, CRASHED = "refused: ", "crashed: "


def flips(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Flips `count` bits, of all kinds of files in turn; goes on where it was cut off.

    Args:
        folder: world and copies lie in its folder `flips`, with a row for each trial in rows-SEED.jsonl.

    Returns:
        `bit_flips`, how many were silent, crashed, refused and harmless, and how many refusals named no file.
    """
    folder = folder / "flips"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "world").exists():
        failed = _in_child(lambda: (build(folder / "world"), "")[1])
        if failed:
            raise RuntimeError(f"the world cannot be built: {failed}")
    rows = _tried(count, seed, folder)
    ends = Counter(row["end"] for row in rows)
    ends["unnamed"] = sum(row["end"] == "refused" and not row["named"] for row in rows)
    names = ("silent", "crashed", "refused", "harmless", "unnamed")
    return {"bit_flips": len(rows), **{f"flips_{name}": ends[name] for name in names}}


def _tried(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    kept = folder / f"rows-{seed}.jsonl"
    rows, intact = whole_rows(kept), dict[tuple[str, str], str]()
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = rows[:count]
    with kept.open("a") as file:
        for number in range(len(rows), count):
            draw = random.Random(f"{seed} {number}")
            row = _trial(KINDS[number % len(KINDS)], folder / "world", folder, draw, intact)
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    return rows


def _trial(
    kind: Kind, world: Path, folder: Path, draw: random.Random, intact: dict[tuple[str, str], str]
) -> dict[str, Any]:
    source = world / kind.folder
    found = {path for pattern in kind.files for path in source.glob(pattern) if path.is_file() and path.stat().st_size}
    files = sorted(path.relative_to(source) for path in found)
    name = draw.choice(files)
    bit = draw.randrange(8 * (source / name).stat().st_size)
    if (kind.name, name.name) not in intact:
        intact[kind.name, name.name] = _read(kind, world, folder, name, None)
    said = _read(kind, world, folder, name, bit)
    wanted = intact[kind.name, name.name]
    row = {"kind": kind.name, "file": str(name), "bit": bit}
    if said.startswith(REFUSED):
        parts = {*name.parts, kind.copy} - {"model", "tokenizer"}
        return row | {"end": "refused", "said": said, "named": any(part in said for part in parts)}
    if said.startswith(CRASHED):
        return row | {"end": "crashed", "said": said}
    return row | {"end": "harmless" if said == wanted else "silent"}


def _read(kind: Kind, world: Path, folder: Path, name: Path, bit: int | None) -> str:
    """What a verb makes of a copy with this bit flipped; None: of an intact copy, which must be read without error."""
    copy, out = folder / "trial" / kind.copy, folder / "trial" / "out"
    shutil.rmtree(folder / "trial", ignore_errors=True)
    shutil.copytree(world / kind.folder, copy)
    if bit is not None:
        content = bytearray((copy / name).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (copy / name).write_bytes(content)
    found = _in_child(lambda: kind.read(world, copy, name, out))
    if bit is None and found.startswith((REFUSED, CRASHED)):
        raise RuntimeError(f"{kind.name}: the intact {name} cannot be read: {found}")
    return found


def _in_child(work: Callable[[], str]) -> str:
    """Does the work in a forked process; what it returns, or how it ended."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        _work(work, start)
    os.close(start)
    with os.fdopen(end, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"{CRASHED}{signal.Signals(os.WTERMSIG(status)).name}"
    return said


def _work(work: Callable[[], str], start: int) -> None:
    """The child; does not return."""
    signal.alarm(SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        said = work()
    except UserError as error:
        said = f"{REFUSED}{error}"
    except BaseException as error:  # of any kind: that is what is looked for
        said = f"{CRASHED}{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}"
    with suppress(OSError):
        os.write(start, said.encode(errors="backslashreplace")[:60_000])
    os._exit(0)
