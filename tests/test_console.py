"""Progress: lines with rate and time left in a log file, a bar in a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from seqdistill import console
from seqdistill.console import Terminal, clock
from seqdistill.progress import Progress


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0:00"),
        (0.4, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61.0, "1:01"),
        (3599.6, "1:00:00"),
        (36_061.0, "10:01:01"),
    ],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def lines_of(text: io.StringIO) -> list[str]:
    return text.getvalue().splitlines()


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(wait: Callable[[float], None]) -> None:
    text = io.StringIO()
    terminal = Terminal(Console(file=text))
    assert isinstance(terminal, Progress)
    terminal.start("training", total=1000, unit="updates", done=100)
    wait(10)
    terminal.advance(100, loss=4.0)
    assert not lines_of(text), "the next line is due after 15 seconds"
    wait(10)
    terminal.advance(100, loss=2.5, speed="fast")
    wait(1)
    terminal.advance(1)
    # 200 updates in 20 seconds: the 100 that were there before took no time; 700 are left
    assert lines_of(text) == ["training: 300/1,000 updates, 10.0 updates/s, 1:10 left, loss 2.5, speed fast"]
    wait(60)
    terminal.finish()
    assert lines_of(text)[1:] == ["training: 301/1,000 updates, in 1:21"]
    terminal.finish()
    assert len(lines_of(text)) == 2, "finishing twice says nothing new"


@pytest.mark.parametrize("name", ["[/x]", "[red]a[/red]", ":warning:", "{task.total}", "$x_{$"])
@pytest.mark.parametrize("bar", [True, False])
def test_titles_are_shown_as_they_are(name: str, bar: bool) -> None:
    """A stage called [/x] was a traceback of rich's, and [red] vanished."""
    text = io.StringIO()
    terminal = Terminal(Console(file=text, force_terminal=bar, width=200, color_system=None))
    terminal.start(name, total=3, unit="updates")
    terminal.advance(1, state=name)
    terminal.finish()
    assert f"{name}: 1/3 updates" in text.getvalue()


def test_a_task_of_unknown_length_shows_no_time_left(wait: Callable[[float], None]) -> None:
    text = io.StringIO()
    terminal = Terminal(Console(file=text))
    terminal.start("reading", total=None, unit="pairs")
    wait(20)
    terminal.advance(5000)
    assert lines_of(text) == ["reading: 5,000 pairs, 250.0 pairs/s"]


def test_a_new_task_ends_the_one_before_and_forgets_its_fields(wait: Callable[[float], None]) -> None:
    text = io.StringIO()
    terminal = Terminal(Console(file=text))
    terminal.start("one", total=2, unit="lines")
    terminal.advance(2, loss=1.0)
    terminal.start("two", total=4, unit="lines")
    assert lines_of(text) == ["one: 2/2 lines, in 0:00"]
    wait(20)
    terminal.advance(4)
    assert lines_of(text)[1:] == ["two: 4/4 lines, 0.2 lines/s, 0:00 left"]


def test_long_lines_of_a_log_are_not_broken(wait: Callable[[float], None]) -> None:
    text = io.StringIO()
    terminal = Terminal(Console(file=text, width=40))
    terminal.start("a title that is longer than the line of a terminal", total=1, unit="lines")
    terminal.finish()
    assert len(lines_of(text)) == 1


def test_a_terminal_gets_a_bar_and_in_the_end_one_line() -> None:
    text = io.StringIO()
    terminal = Terminal(Console(file=text, force_terminal=True, width=120))
    terminal.start("decoding", total=10, unit="lines")
    terminal.advance(7, score=0.5)
    terminal.finish()
    shown = text.getvalue()
    assert "━" in shown and "7/10" in shown and "score 0.5" in shown
    assert lines_of(text)[-1].endswith("decoding: 7/10 lines, in 0:00")
