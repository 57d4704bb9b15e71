"""Stages of a recipe side by side: each in a process of its own, on its share of the cores.

A small student does not fill many cores: two trainings, each on one core, finish sooner than one after the other on
both (docs/log.md).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import torch

from seqdistill.errors import UserError
from seqdistill.progress import Progress, Silent
from seqdistill.recipe import Step
from seqdistill.stages import Outcome, found_in, run_stage
from seqdistill.threads import core_numbers, keep_to
from seqdistill.workers import end_with_parent, start_without_main


class _Job(NamedTuple):
    """A stage that runs."""

    step: Step
    process: BaseProcess
    cores: list[int]


def side_by_side(
    steps: Sequence[Step], progress: Callable[[], Progress], *, jobs: int
) -> Iterator[tuple[Step, Outcome]]:
    """Runs up to `jobs` stages at a time, each once what it needs is done; yields them as they end.

    A finished stage is only checked, in this process: starting another one takes seconds.

    The first one to fail ends the others, which the next run continues; so does closing the iterator.

    Args:
        progress: picklable; makes what reports a stage's progress, in the stage's process.

    Raises:
        UserError: more jobs than cores; a stage was killed; a stage's own error.
        RuntimeError: a bug made a stage fail; its traceback was written.
    """
    cores = core_numbers()
    if not 1 <= jobs <= len(cores):
        raise UserError(f"--jobs {jobs}: expected 1 to {len(cores)}, the cores of this machine")
    waiting, done = list(steps), set[str]()
    free = [cores[job::jobs] for job in range(jobs)]
    running: dict[Connection, _Job] = {}
    try:
        while waiting or running:
            while free and (step := next((step for step in waiting if done.issuperset(step.needs)), None)):
                waiting.remove(step)
                title = f"[{steps.index(step) + 1}/{len(steps)}] {step.kind} {step.name}"
                if found_in(step.directory, step.kind, step.settings).is_done:
                    done.add(step.name)
                    yield step, run_stage(step.kind, step.settings, step.directory, Silent(), title=title)
                    continue
                connection, job = _begun(step, progress, title, free.pop(0))
                running[connection] = job
            for connection in wait(list(running)) if running else ():
                assert isinstance(connection, Connection)
                outcome = _ended(connection, running[connection])
                job = running.pop(connection)
                free.append(job.cores)
                done.add(job.step.name)
                yield job.step, outcome
    finally:
        for job in running.values():
            job.process.terminate()
        for job in running.values():
            job.process.join()


def _begun(step: Step, progress: Callable[[], Progress], title: str, cores: list[int]) -> tuple[Connection, _Job]:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_perform, args=(theirs, step, progress, title, cores))
    start_without_main(process)
    theirs.close()
    return ours, _Job(step, process, cores)


def _ended(connection: Connection, job: _Job) -> Outcome:
    """Receives how a stage ended; raises what it raised."""
    try:
        outcome = connection.recv()
    except EOFError:
        outcome = None
    job.process.join()
    if isinstance(outcome, Outcome):
        return outcome
    if isinstance(outcome, Exception):
        raise outcome
    code = job.process.exitcode or 0
    if code < 0:
        raise UserError(
            f"{job.step.directory}: its process was ended by {signal.Signals(-code).name}; SIGKILL usually means that "
            "memory ran out: give fewer --jobs and run the same command again, it continues"
        )
    raise RuntimeError(f"stage {job.step.name} failed with exit code {code}; its traceback is above")


def _perform(
    connection: Connection, step: Step, progress: Callable[[], Progress], title: str, cores: list[int]
) -> None:
    """Runs in a stage's process."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_to(cores)
    torch.set_num_threads(len(cores))
    result: Outcome | Exception
    try:
        result = run_stage(step.kind, step.settings, step.directory, progress(), title=title)
    except (UserError, OSError) as error:
        result = error
    with suppress(ConnectionError):
        connection.send(result)
