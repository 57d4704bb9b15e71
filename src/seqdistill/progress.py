"""How long tasks report their progress; the command line draws it, tests and libraries stay silent."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receives reports about one long task at a time."""

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        """Begins a task of `total` units (None: unknown), `done` of them already there from an earlier run."""

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        """Reports `amount` more units, and named values to show beside them, such as loss=2.31."""

    def finish(self) -> None:
        """Ends the task."""


class Silent:
    """Reports nothing."""

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        pass

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        pass

    def finish(self) -> None:
        pass
