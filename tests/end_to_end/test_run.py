"""`run` goes the whole way, does nothing twice, and survives kill -9 to the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.robust.recipe import contents
from seqdistill.files import locked

Command = Callable[..., "subprocess.Popen[str]"]
Call = Callable[..., tuple[int, str, str]]

STAGES = ["data", "teacher", "distilled", "fast", "sru", "nat", "teacher-test", "sru-test", "nat-test"]


def modified(directory: Path) -> dict[Path, int]:
    """When each file was written last."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def whole(toy: Path, seqdistill: Command, call: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an undisturbed run wrote, in a process of its own, after a dry run that wrote nothing."""
    monkeypatch.chdir(toy)
    code, dry, errors = call("run", "toy.toml", "--dry-run")
    assert code == 0 and dry.count(" run ") == len(STAGES) and dry.count("not begun") == 1 and not errors
    assert not (toy / "runs").exists()
    process = seqdistill("run", "toy.toml", "--out", "whole")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "BLEU" in out and "sru over" not in out and "report: whole/report.html" in out
    assert "8/8 updates" in errors and "160/160 lines" in errors
    return toy / "whole"


@pytest.mark.slow
def test_a_recipe_runs_whole_then_does_nothing_and_killed_at_ten_moments_gives_the_same_bytes(
    toy: Path, whole: Path, call: Call
) -> None:
    assert sorted(path.name for path in whole.iterdir()) == sorted([*STAGES, "report.html"])
    assert all((whole / stage / "manifest.json").exists() for stage in STAGES)
    page = (whole / "report.html").read_text()
    assert all(name in page for name in ("Toy", "teacher", "sru", "nat")) and "<script src" not in page

    before, times = contents(whole), modified(whole)
    code, out, errors = call("run", "toy.toml", "--out", "whole")
    assert code == 0 and f"all {len(STAGES)} stages were finished before; nothing to do" in out and not errors
    assert modified(whole) == times
    code, out, _ = call("run", "toy.toml", "--out", "whole", "--dry-run")
    assert code == 0 and out.count(" skip ") == len(STAGES)
    assert call("status", "whole")[1].count("finished") == len(STAGES)

    _killed(toy, kills=10)
    for directory in sorted(toy.glob("killed?")):
        assert contents(directory) == before, directory


def _killed(toy: Path, *, kills: int) -> None:
    program = [sys.executable, str(Path(__file__).with_name("killed_runs.py")), str(kills), "90"]
    program += [*(f"killed{number}" for number in range(5)), "--", "run", "toy.toml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=toy, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert sum(result["kills"].values()) == kills == len(result["where"])


@pytest.mark.parametrize("directory", ["whole/data", "whole/teacher"])
def test_two_runs_on_one_directory_exclude_each_other(
    toy: Path, call: Call, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    monkeypatch.chdir(toy)
    with locked(toy / directory):
        code, _, errors = call("run", "toy.toml", "--out", "whole")
    assert code == 2 and "error: whole/" in errors and "another process is writing here" in errors
    assert "Traceback" not in errors
    assert [path.name for path in (toy / directory).iterdir()] == [".lock"]
