"""What the workers of test_workers.py do: light to import, so that processes start fast."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from seqdistill.errors import UserError


def squares() -> Callable[[int], tuple[int, int]]:
    """Squares a number, and says in which process."""
    return lambda task: (task * task, os.getpid())


def dies_once(marks: Path) -> Callable[[int], int]:
    """Squares numbers, but the first worker that gets a multiple of 10 is killed over it."""

    def work(task: int) -> int:
        if task % 10 == 0 and not (marks / str(task)).exists():
            (marks / str(task)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task * task

    return work


def dies_always(task: int) -> Callable[[int], int]:
    """Is killed over one task."""
    return lambda given: os.kill(os.getpid(), signal.SIGKILL) or 0 if given == task else given


def never_starts() -> Callable[[int], int]:
    """Ends before the first task."""
    os._exit(7)


def mistaken() -> Callable[[int], int]:
    """The user's mistake, found while loading."""
    raise UserError("no such model")


def faulty() -> Callable[[int], int]:
    """A fault of the program."""
    return lambda task: 1 // task


def is_a_mistake_later() -> Callable[[int], int]:
    """The user's mistake, found over a task."""

    def work(task: int) -> int:
        if task == 3:
            raise UserError("line 3 is too long")
        return task

    return work


def loads_openmp() -> Callable[[int], int]:
    """Imports torch, and so OpenMP."""
    import torch

    return lambda task: torch.ones(task).numel()
