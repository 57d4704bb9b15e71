"""Work on many tasks in worker processes that may be killed at any time: a task whose worker dies is done again.

Every worker talks through a pipe of its own, so a killed worker leaves no lock behind, and ends with its parent, also
when the parent is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Generic, TypeVar

from seqdistill.errors import UserError, described

Task = TypeVar("Task")
Result = TypeVar("Result")

ATTEMPTS = 3
"""Workers that die over one task, or before their first one, for a UserError."""

_READY, _DONE, _MISTAKE, _FAILURE = "ready", "done", "mistake", "failure"


class WorkerError(RuntimeError):
    """A worker raised something other than a UserError: a bug; the message holds its traceback."""


def in_processes(
    start: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task], *, workers: int
) -> Generator[Result, None, None]:
    """Does the tasks in `workers` spawned processes; yields results as they come, in any order.

    Close the iterator (or exhaust it) to end the processes.

    Args:
        start: picklable; called once in each process, returns what does one task.
        tasks: picklable, taken one by one as workers become free.

    Raises:
        UserError: raised by a worker; an error of the operating system in one; three workers died over the same task.
        WorkerError: a worker raised anything else.
    """
    team = _Team(start, iter(tasks))
    try:
        for _ in range(workers):
            team.hire()
        while team.members:
            for connection in wait(list(team.members)):
                assert isinstance(connection, Connection)
                yield from team.listen(connection)
    finally:
        team.dismiss()


@dataclass
class _Member(Generic[Task]):
    process: BaseProcess
    task: Task | None = None
    """What it works on; None: nothing yet."""


class _Team(Generic[Task, Result]):
    """The workers, and which task each one has."""

    def __init__(self, start: Callable[[], Callable[[Task], Result]], tasks: Iterator[Task]) -> None:
        self.members: dict[Connection, _Member[Task]] = {}
        self._start = start
        self._tasks = tasks
        self._again: list[Task] = []
        self._deaths: Counter[int] = Counter()
        """By the id of the task in work, which is not freed as long as it counts; that of None for no task yet."""

    def hire(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._start), daemon=True)
        start_without_main(process)
        theirs.close()
        self.members[ours] = _Member(process)

    def listen(self, connection: Connection) -> Iterator[Result]:
        """Takes one message of a worker and gives it the next task, or ends it when there is none."""
        member = self.members[connection]
        try:
            kind, value = connection.recv()
        except (EOFError, ConnectionError):
            self._replace(connection)
            return
        if kind == _MISTAKE:
            raise UserError(value)
        if kind == _FAILURE:
            raise WorkerError(f"a worker process failed:\n{value}")
        # A task is with its member until its result has come: whenever the pipe ends before, it is given to another.
        # What a worker wrote before it died is written again, by tasks that write to a file beside and rename it.
        finished, member.task = member.task, self._next()
        self._deaths.pop(id(finished), None)
        if member.task is None:
            self._let_go(connection)
        else:
            with suppress(ConnectionError):  # if it just died, its pipe ends: seen in the next round
                connection.send(member.task)
        if kind == _DONE:
            yield value

    def dismiss(self) -> None:
        for member in self.members.values():
            member.process.terminate()
        for connection in list(self.members):
            self._let_go(connection)

    def _next(self) -> Task | None:
        return self._again.pop() if self._again else next(self._tasks, None)

    def _let_go(self, connection: Connection) -> None:
        connection.close()
        self.members.pop(connection).process.join()

    def _replace(self, connection: Connection) -> None:
        """A worker died: another one gets its task."""
        member = self.members[connection]
        self._let_go(connection)
        self._deaths[id(member.task)] += 1
        if self._deaths[id(member.task)] >= ATTEMPTS:
            raise UserError(_obituary(member.process.exitcode, started=member.task is not None))
        if member.task is not None:
            self._again.append(member.task)
        self.hire()


def _serve(connection: Connection, start: Callable[[], Callable[[Any], Any]]) -> None:
    """The life of a worker: says it is ready, then does tasks until the pipe closes."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        work = start()
        connection.send((_READY, None))
        while True:
            connection.send((_DONE, work(connection.recv())))
    except (EOFError, ConnectionError):
        return
    except UserError as error:
        last = (_MISTAKE, str(error))
    except OSError as error:
        last = (_MISTAKE, described(error))
    except Exception:
        last = (_FAILURE, traceback.format_exc())
    with suppress(ConnectionError):
        connection.send(last)


def start_without_main(process: BaseProcess) -> None:
    """Starts a spawned process that does not import the program that runs, and that Ctrl-C does not reach.

    By default it would: a script without `if __name__ == "__main__"` would begin again in every worker. What we start
    there comes from our own modules, so nothing of the program is needed.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    # Ctrl-C reaches every process of the terminal: the parent alone answers it, and ends the others. A child inherits
    # what is blocked, and so never sees it, not even while it still imports.
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Waits in a thread of a child process, and ends the process when its parent is gone."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _obituary(exitcode: int | None, *, started: bool) -> str:
    when = "during the same piece of work" if started else "before they began to work"
    cause = (
        f"signal {signal.Signals(-exitcode).name}" if exitcode is not None and exitcode < 0 else f"exit code {exitcode}"
    )
    return (
        f"{ATTEMPTS} worker processes died {when}, the last of {cause}; SIGKILL usually means that memory ran out: "
        "give fewer workers (when decoding, or a smaller beam) and run the same command again, it continues"
    )
