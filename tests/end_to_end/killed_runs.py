"""A program that starts `seqdistill run` again and again, kills each at a random moment, and lets the last one finish.

It loads torch once and forks; each child is a whole run of the command line. A child sends itself SIGKILL around the
n-th time that it opens a file of the run for writing, renames, or deletes one: there a continued run could go wrong,
and the moment does not depend on how busy the machine is. Half of the kills come some milliseconds later, wherever the
run then is.

usage: killed_runs.py KILLS CHANGES OUTPUT... -- ARGUMENTS
    KILLS: how many runs are killed.
    CHANGES: each within so many changes of files after its beginning.
    OUTPUT: directories taken in turn, the next once a run has finished in the one before.
    ARGUMENTS: of seqdistill, up to `--out`.

Prints a line of JSON: the kills in each directory used, and where they happened.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch._dynamo  # which torch.optim imports when first used

from seqdistill import cli, command_line, pipeline

SIGKILLED = int(signal.SIGKILL)
"""The wait status of a killed process."""

CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def watch(directory: Path, reached: Callable[[str], None]) -> None:
    """Calls `reached` with a description just before each change of a file in `directory`."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (opened or event in CHANGING) and str(arguments[0]).startswith(str(directory)):
            reached(f"{event} {arguments[0]}")

    sys.addaudithook(hook)


def run(words: list[str], out: Path, reached: Callable[[str], None]) -> int:
    """Forks a run into `out`; returns its wait status."""
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        quiet = os.open(out.with_suffix(".output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        sys.argv = ["seqdistill", *words, "--out", str(out)]
        watch(out, reached)
        code = cli.run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def killing(moment: int, delay: float, where: Path) -> Callable[[str], None]:
    """Kills the process that calls it for the `moment`-th time, `delay` seconds later; 0: never."""
    left = moment

    def reached(change: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            where.write_text(change)
            if delay:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached


def main() -> None:
    split = sys.argv.index("--")
    kills, changes = int(sys.argv[1]), int(sys.argv[2])
    outputs, words = [Path(name).absolute() for name in sys.argv[3:split]], sys.argv[split + 1 :]
    generator = random.Random(7)
    where: list[str] = []
    kills_in: dict[str, int] = {}
    for out in outputs:
        status, before = SIGKILLED, len(where)
        while status == SIGKILLED:
            moment = generator.randint(1, changes) if len(where) < kills else 0
            delay = generator.choice([0.0, generator.uniform(0.0, 0.05)])
            change = out.with_suffix(".killed")
            status = run(words, out, killing(moment, delay, change))
            where += [change.read_text()] if status == SIGKILLED else []
        assert status == 0, f"wait status {status}: {out.with_suffix('.output').read_text()}"
        kills_in[out.name] = len(where) - before
        if len(where) == kills:
            break
    sys.stdout.write(json.dumps({"kills": kills_in, "where": where}) + "\n")


if __name__ == "__main__":
    assert torch._dynamo and command_line and pipeline  # seconds of imports that the children need not spend
    main()
