"""How the program ends, whatever happens: one line on standard error, and an exit code that says why.

| what happened | exit code |
|---|---|
| the work is done; or the reader of standard output has closed it, as `head` does | 0 |
| a mistake of the user, an error of the system, too little memory, a package that is absent | 2, after `error: ...` |
| SIGINT, as Ctrl-C sends it | 130 |
| SIGTERM, as `kill` and schedulers send it | 143 |
| a bug | 1, after a traceback |

Little is imported here before the signals have their answers: it takes a millisecond, torch takes seconds.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress

TYPE_CHECKING = False  # as in typing, whose import takes longer than this one
if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS = 3.0
"""From a signal to the end, at most: to remove files that are half written, and to end workers."""

_SAID = {
    signal.SIGINT: "interrupted; what can be continued is, by the same command",
    signal.SIGTERM: "terminated; what can be continued is, by the same command",
}
_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"
"""A progress bar may stand in this line, and hides the cursor."""


class Stopped(BaseException):
    """A signal asks the program to end. No Exception, so that nobody takes it for a fault of the work."""


class _Signals:
    """Answers SIGINT and SIGTERM while it is entered.

    The main thread gets Stopped wherever it is, so that files beside are removed and workers end. It may not come to
    that: Python answers signals between two steps of its own, and a step can be a call into C++ of minutes; an import
    or a destructor may swallow any exception. So a thread waits, too, and ends the process GRACE_SECONDS later, or
    at the second signal. That is safe at every moment, as a kill is.
    """

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> _Signals:
        self._hooks = sys.unraisablehook, threading.excepthook
        self._arrivals, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        self._others = {
            number: signal.signal(number, self._raise)
            for number in _SAID
            if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup, or in the background of a script
        }
        self._other_bell = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)  # writes each signal's number
        threading.Thread(target=self._wait, args=(self._arrivals,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._other_bell)
        for number, other in self._others.items():
            signal.signal(number, other)
        os.close(self._bell)  # the thread reads the end, and closes the other one
        sys.unraisablehook, threading.excepthook = self._hooks

    def _raise(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if not self.received:
            self.received = number
            sys.unraisablehook = threading.excepthook = _say_nothing
            raise Stopped

    def _wait(self, arrivals: int) -> None:
        while number := os.read(arrivals, 1):
            if number[0] in self._others:
                ready, _, _ = select.select([arrivals], [], [], GRACE_SECONDS)
                if not ready or os.read(arrivals, 1):  # neither the end of the work, which closes the other side
                    _say(_SAID[signal.Signals(number[0])])
                    os._exit(128 + number[0])
                break
        os.close(arrivals)


class Ending:
    """What is done within it ends as the table above says; `code` is then the exit code.

    A context, not a function that is given the work: so the work is not called from four frames deeper.
    """

    def __init__(self, *, ends_process: bool) -> None:
        """Args:
        ends_process: end it, at once: what an interpreter does at its end can fail. A thread that reads standard
            input aborts it, for one.
        """
        self.code = 0
        self._ends_process, self._signals = ends_process, _Signals()

    def __enter__(self) -> Ending:
        self._signals.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        try:
            self._end(error)
        except Stopped:  # while the answer was given
            self.code = _said(_SAID[signal.Signals(self._signals.received)], 128 + self._signals.received)
        if self._ends_process:
            os._exit(self.code)
        self._signals.__exit__()
        return True

    def _end(self, error: BaseException | None) -> None:
        try:
            if error is None:
                sys.stdout.flush()
        except BaseException as late:
            error = late
        if error is not None:
            self.code = _answered(error, self._signals.received)


def _answered(error: BaseException, received: int) -> int:
    """Says what the error means; after a signal that is the signal, whatever was made of it on the way."""
    from seqdistill.errors import UserError, described

    if isinstance(error, KeyboardInterrupt):  # of a library with a handler of its own
        received = received or signal.SIGINT
    if received:
        return _said(_SAID[signal.Signals(received)], 128 + received)
    if isinstance(error, UserError):
        return _said(f"error: {error}", 2)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else _said(str(error.code), 1)
    if isinstance(error, OSError) and _reader_has_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where what is still buffered goes
        return 0
    if isinstance(error, OSError):
        return _said(f"error: {described(error)}", 2)
    if isinstance(error, MemoryError):
        return _said("error: memory ran out; give smaller sizes or batches, or fewer workers", 2)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "seqdistill").startswith("seqdistill"):
        return _said(f"error: {error.name} is not installed: install seqdistill with what it depends on", 2)
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads; another pipe may have broken, such as that of a metric."""
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _said(line: str, code: int) -> int:
    _say(line)
    return code


def _say(line: str) -> None:
    from seqdistill.visible import visible

    stream = sys.__stderr__
    with suppress(OSError, ValueError):  # nobody may listen any more
        if stream is not None:
            stream.write(f"{_SHOW_CURSOR if stream.isatty() else ''}{visible(line)}\n")
            stream.flush()


def _say_nothing(_: object) -> None:
    """What goes wrong in destructors and threads after a signal is of no interest."""
