"""Runs of a recipe, killed again and again: what is continued ends with the same bytes.

A run sends itself SIGKILL around the n-th time that it opens a file of its output for writing, renames, or deletes one:
there a continued run could go wrong, and the moment does not depend on how busy the machine is. Half of the kills come
some milliseconds later, wherever the run then is.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.robust import toy
from benchmarks.robust.process import run
from benchmarks.robust.recipe import RECIPE, contents
from seqdistill.errors import UserError

CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
CHANGES = 150
"""A kill comes within so many changes of files after its run's beginning."""
RUN_SECONDS = 600.0


def kills(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Kills runs `count` times; each run is continued until it has finished, then another one begins.

    Returns:
        How many kills there were, how many runs, and how many of those ended with other bytes than an undisturbed one.

    Raises:
        UserError: a run ended by itself, and not with 0.
    """
    before, text = undisturbed(folder)
    draw = random.Random(f"{seed} kills")
    killed = runs = differing = 0
    while killed < count:
        shutil.rmtree(text / "killed", ignore_errors=True)
        code: int | None = -signal.SIGKILL
        while code == -signal.SIGKILL:
            moment = draw.randint(1, CHANGES) if killed < count else 0
            delay = draw.choice([0.0, draw.uniform(0.0, 0.05)])
            code = performed(text, "killed", before=_killing(text / "killed", moment, delay))
            killed += code == -signal.SIGKILL
        runs += 1
        if others := different(before, contents(text / "killed")):
            differing += 1
            sys.stderr.write(f"run {runs} of kills differs: {', '.join(others)}\n")
            (text / "killed").rename(text / f"differing-{seed}-{runs}")
    return {"kills": killed, "kills_runs": runs, "kills_differing": differing}


def different(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of files that are not the same, or not in both."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@cache
def undisturbed(folder: Path) -> tuple[dict[str, str], Path]:
    """The contents of an undisturbed run of the recipe, and the folder of its text."""
    text = folder / "runs"
    shutil.rmtree(text, ignore_errors=True)
    toy.copy(toy.make(folder / "toy"), text)
    (text / "every-kind.toml").write_text(RECIPE)
    performed(text, "whole")
    return contents(text / "whole"), text


def performed(text: Path, out: str, *, before: Callable[[], None] | None = None) -> int | None:
    """Runs the recipe; its exit code, which is 0 or that of SIGKILL.

    Raises:
        UserError: it ended otherwise.
    """
    ended = run(["run", "every-kind.toml", "--out", out], text, before=before, limit=RUN_SECONDS)
    if ended.code not in (0, -signal.SIGKILL):
        raise UserError(f"{text / out}: the recipe ended with exit code {ended.code}: {ended.err[-2000:]}")
    return ended.code


def _killing(directory: Path, moment: int, delay: float) -> Callable[[], None]:
    """Makes the process that calls it kill itself at the `moment`-th change, `delay` seconds later; 0: never."""

    def begin() -> None:
        left = moment

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            opened = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if (opened or event in CHANGING) and str(arguments[0]).startswith((str(directory), directory.name)):
                left -= 1
                if left == 0 and delay:
                    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
                elif left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return begin
