"""The last line of a run: a command that translates with what was exported, as whoever reads it can give it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqdistill import shown
from seqdistill.options import BenchOptions
from seqdistill.verbs import systems


@pytest.fixture
def last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The words of the last line of a run that exported something, and timed it with this beam."""
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "sources.txt").write_text("one\nLamp's light is on\n")
    evaluated = SimpleNamespace(evaluation=tmp_path / "test")
    monkeypatch.setattr(systems, "systems_in", lambda _: [evaluated])
    monkeypatch.setattr(shown, "systems", lambda _: [])
    monkeypatch.setattr(shown, "speeds", lambda _: [])

    def made(*, beam: int = 0) -> list[str]:
        export = SimpleNamespace(kind="export", settings=None, directory=Path("runs/my demo/exported"))
        settings = BenchOptions(models=[Path("teacher")], data=Path("data"), beam=max(beam, 1))
        bench = [SimpleNamespace(kind="bench", settings=settings)] if beam else []
        outcomes: Any = [(step, SimpleNamespace(done_now=True, results={})) for step in [export, *bench]]
        recipe: Any = SimpleNamespace(out=tmp_path, report=None)
        *_, line = shown.run(recipe, outcomes)
        assert isinstance(line, str)
        return shlex.split(line)

    return made


@pytest.mark.parametrize(
    ("argument", "found", "program"),
    [
        ("/home/me/.venv/bin/seqdistill", "/home/me/.venv/bin/seqdistill", ["seqdistill"]),
        (".venv/bin/seqdistill", None, [".venv/bin/seqdistill"]),
        ("/src/seqdistill/__main__.py", "/usr/bin/seqdistill", [sys.executable, "-m", "seqdistill"]),
    ],
)
def test_the_program_is_named_as_it_was_called(
    last_line: Any, monkeypatch: pytest.MonkeyPatch, argument: str, found: str | None, program: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [argument, "run", "demo.toml"])
    monkeypatch.setattr(shown, "which", lambda _: found)
    start = ["translate:", "echo", "Lamp's light is on", "|", *program]
    assert last_line() == [*start, "translate", "--model", "runs/my demo/exported"]
    assert last_line(beam=1) == [*start, "translate", "--model", "runs/my demo/exported", "--beam", "1"]
