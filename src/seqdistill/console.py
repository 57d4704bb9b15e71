"""Draws progress: in a terminal a bar with rate and time left, in a log file a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from seqdistill.visible import visible

LOG_EVERY_SECONDS = 15.0


class _Console(Console):
    """Falls silent when nobody reads it any more; work goes on."""

    def on_broken_pipe(self) -> None:
        """Unlike rich's, does not end the program."""
        self.quiet = True


class Terminal:
    """Reports long work on standard error, so that standard output stays clean for results and pipes."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _Console(stderr=True, markup=False, emoji=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._title, self._unit = "", ""
        self._total: int | None = None
        self._done = 0
        self._done_before = 0
        self._started = 0.0
        self._logged = 0.0
        self._fields: dict[str, float | str] = {}

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        """Begins a task; see `seqdistill.progress.Progress`."""
        self.finish()
        self._title, self._total, self._unit = visible(title), total, unit
        self._done = self._done_before = done
        self._started = self._logged = time.monotonic()
        self._fields = {}
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}", markup=False),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=total, completed=done, state="")

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        """Reports more units done."""
        self._done += amount
        self._fields |= fields
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, state=self._state(now))
        elif now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            self._log(now)

    def finish(self) -> None:
        """Ends the task and leaves one line saying what was done."""
        if not self._title:
            return
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._log(time.monotonic(), final=True)
        self._title = ""

    def _state(self, now: float) -> str:
        elapsed = max(now - self._started, 1e-9)
        rate = (self._done - self._done_before) / elapsed
        parts = [f"{rate:,.1f} {self._unit}/s"]
        if self._total and rate > 0:
            parts.append(f"{clock(max(self._total - self._done, 0) / rate)} left")
        parts += [
            f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self._fields.items()
        ]
        return ", ".join(parts)

    def _log(self, now: float, *, final: bool = False) -> None:
        total = "" if self._total is None else f"/{self._total:,}"
        state = f"in {clock(now - self._started)}" if final else self._state(now)
        line = f"{self._title}: {self._done:,}{total} {self._unit}, {state}"
        self.console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def lines() -> Terminal:
    """Writes lines also in a terminal: for several processes, whose bars would write over each other."""
    return Terminal(_Console(stderr=True, force_terminal=False, markup=False, emoji=False))
