"""Worker processes: every task done once, whoever dies; one clear error when it cannot be."""

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import worker_tasks

from seqdistill.errors import UserError
from seqdistill.workers import WorkerError, in_processes


def test_every_task_is_done_once_by_several_processes() -> None:
    results = list(in_processes(worker_tasks.squares, range(200), workers=3))
    assert sorted(value for value, _ in results) == [task * task for task in range(200)]
    assert os.getpid() not in {process for _, process in results}
    assert not multiprocessing.active_children()


def test_large_tasks_pass_through() -> None:
    """Larger than a pipe's buffer: nobody waits for somebody who waits for him."""
    tasks = ["x" * 3_000_000, "y" * 3_000_000]
    assert sorted(in_processes(partial(_itself, str.upper), tasks, workers=2)) == [task.upper() for task in tasks]


def _itself(work: Callable[[str], str]) -> Callable[[str], str]:
    return work


def test_tasks_of_killed_workers_are_done_again(tmp_path: Path) -> None:
    results = list(in_processes(partial(worker_tasks.dies_once, tmp_path), range(40), workers=2))
    assert len(list(tmp_path.iterdir())) == 4
    assert sorted(results) == [task * task for task in range(40)]


def test_a_task_that_kills_every_worker() -> None:
    with pytest.raises(
        UserError, match=r"3 worker processes died during the same piece of work, the last of signal SIGKILL"
    ):
        list(in_processes(partial(worker_tasks.dies_always, 5), range(10), workers=2))
    assert not multiprocessing.active_children()


def test_workers_that_never_start() -> None:
    with pytest.raises(UserError, match=r"3 worker processes died before they began to work, the last of exit code 7"):
        list(in_processes(worker_tasks.never_starts, range(10), workers=1))


@pytest.mark.parametrize(
    ("start", "message"),
    [(worker_tasks.mistaken, "^no such model$"), (worker_tasks.is_a_mistake_later, "^line 3 is too long$")],
)
def test_a_mistake_stays_a_mistake(start: Callable[[], Callable[[int], int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(in_processes(start, range(10), workers=2))
    assert not multiprocessing.active_children()


def test_a_fault_shows_its_traceback() -> None:
    with pytest.raises(WorkerError, match=r"(?s)a worker process failed:.*worker_tasks.py.*ZeroDivisionError"):
        list(in_processes(worker_tasks.faulty, range(3), workers=1))


def test_closing_early_ends_the_processes() -> None:
    results = in_processes(worker_tasks.squares, iter(range(10**9)), workers=2)
    next(results)
    results.close()
    assert not multiprocessing.active_children()
