"""Ctrl-C, SIGTERM and readers that leave, at random moments from the first import on: one line, and nothing is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.robust import toy
from benchmarks.robust.process import LIMIT_SECONDS
from benchmarks.robust.recipe import RECIPE

PROGRAM = "import os; os.write(int(os.environ['BEGUN']), b'.'); from seqdistill.cli import main; main()"
"""Says that the first import is about to begin, and is the program `seqdistill` from there on."""
LEFT_SECONDS = 5.0
"""In which processes of the group must be gone after the first one."""
SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Trial(NamedTuple):
    """A command that is interrupted."""

    words: list[str]
    seconds: float
    """The moment is drawn from the first so many."""
    stdin: bytes | None = None
    """Lines that are written at once; standard input stays open."""


TRIALS = {
    "help": Trial(["train", "--help"], 0.5),
    "prepare": Trial([*toy.PREPARE, "--out", "out"], 3.0),
    "train": Trial([*toy.TRAIN, "--max-updates", "100000", "--model", "transformer", *toy.TINY, "--out", "out"], 6.0),
    "workers": Trial([*toy.DISTILL, "--workers", "2", "--shard-lines", "5", "--out", "out"], 9.0),
    "jobs": Trial(["run", "every-kind.toml", "--jobs", "2", "--out", "out"], 12.0),
    "stages": Trial(["run", "every-kind.toml", "--out", "out"], 12.0),
    "translate": Trial(toy.TRANSLATE, 5.0, b"lamp on\n"),
    "translate, ctranslate2": Trial([*toy.TRANSLATE, "--engine", "ctranslate2"], 5.0, b"lamp on\n"),
}


def interrupts(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Interrupts commands `count` times.

    Returns:
        How often, and how often the end was not clean: another exit code, more or less than one line about it, a
        traceback, a process left behind.
    """
    # A shell's background ignores Ctrl-C, and so would the trials.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    made, trial = toy.make(folder / "toy"), folder / "interrupted"
    draw = random.Random(f"{seed} interrupts")
    unclean = []
    for number in range(count):
        shutil.rmtree(trial, ignore_errors=True)
        toy.copy(made, trial)
        (trial / "every-kind.toml").write_text(RECIPE)
        name = draw.choice(list(TRIALS))
        how = draw.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM, None])
        if why := interrupted(TRIALS[name], how, draw.uniform(0.0, TRIALS[name].seconds), trial):
            what = "the reader left" if how is None else how.name
            unclean.append(f"{number}: {name}, {what}: {why}")
            sys.stderr.write(f"{unclean[-1]}\n")
    return {"interrupts": count, "interrupts_unclean": len(unclean)}


def interrupted(trial: Trial, how: signal.Signals | None, moment: float, folder: Path) -> str:
    """Starts a command and interrupts it: with a signal to its group, as a terminal does, or (None) by reading no more.

    Returns:
        What was not clean, or nothing.
    """
    began, begin = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *trial.words],
        cwd=folder,
        env={**os.environ, "BEGUN": str(begin), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[begin],
        start_new_session=True,
    )
    os.close(begin)
    os.read(began, 1)
    os.close(began)
    assert process.stdin and process.stdout
    if trial.stdin is not None:
        process.stdin.write(trial.stdin)
        process.stdin.flush()
    time.sleep(moment)
    if how is None:
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write((trial.stdin or b"") * 2)
            process.stdin.close()
        process.stdout = process.stdin = None
        if trial.seconds > 5.0:  # what would go on is ended, and has no reader
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGTERM)
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
    return _unclean(process, how, trial)


def _unclean(process: subprocess.Popen[bytes], how: signal.Signals | None, trial: Trial) -> str:
    try:
        errors = _ends(process)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "it did not end"
    code = process.returncode
    number = how or signal.SIGTERM
    said = errors.count(f"{SAID[number]}; what can be continued is, by the same command\n")
    if "Traceback" in errors or "Error" in errors or "Exception" in errors or "Fatal" in errors:
        return f"exit code {code}: {errors[-3000:]}"
    ended = code == 0 and not said  # it was done before the signal came, or its reader left
    if not (ended or (code == 128 + number and said == 1)):
        return f"exit code {code}, said {said} times: {errors[-3000:]}"
    return _left(process.pid)


def _ends(process: subprocess.Popen[bytes]) -> str:
    """Waits for the end with standard input open, as a terminal's is; what was said on standard error."""
    assert process.stderr
    kept, process.stdin = process.stdin, None
    try:
        return process.communicate(timeout=LIMIT_SECONDS)[1].decode(errors="replace")
    finally:
        if kept is not None:
            with suppress(BrokenPipeError):
                kept.close()


def _left(group: int) -> str:
    """Says so if processes of the group are still there."""
    until = time.monotonic() + LEFT_SECONDS
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return ""
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return "processes were left behind"
