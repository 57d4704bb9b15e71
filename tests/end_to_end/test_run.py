"""`run` goes the whole way, does nothing twice, and survives kill -9 to the same bytes."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.Popen[str]"]


TIMED = {"manifest.json", "log.jsonl", "speed.json", "report.html", "data.json"}
"""Files that hold times; all others must be the same bytes."""


def contents(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in TIMED and not any(part.startswith(".") for part in path.parts[-3:])
    }


@pytest.mark.slow
def test_a_recipe_runs_whole_then_does_nothing_then_survives_ten_kills(toy: Path, seqdistill: Command) -> None:
    dry = seqdistill("run", "toy.toml", "--dry-run").communicate(timeout=300)[0]
    assert dry.count(" run ") >= 8 and "not begun" in dry and not (toy / "runs").exists()

    started = time.monotonic()
    first = seqdistill("run", "toy.toml", "--out", "whole")
    out, errors = first.communicate(timeout=300)
    duration = time.monotonic() - started
    assert first.returncode == 0, errors
    assert "BLEU" in out and "sru" in out and (toy / "whole" / "report.html").stat().st_size > 10_000
    assert "updates" in errors and "sentences" in errors

    before = contents(toy / "whole")
    again, errors = seqdistill("run", "toy.toml", "--out", "whole").communicate(timeout=300)
    assert "all 8 stages were finished before; nothing to do" in again and "updates" not in errors
    assert contents(toy / "whole") == before
    status = seqdistill("status", "whole").communicate(timeout=300)[0]
    assert status.count("finished") == 8

    generator = random.Random(20)
    for _ in range(10):
        process = seqdistill("run", "toy.toml", "--out", "killed")
        time.sleep(duration * generator.uniform(0.25, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
    last = seqdistill("run", "toy.toml", "--out", "killed")
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert contents(toy / "killed") == before


def test_two_runs_on_one_directory_exclude_each_other(toy: Path, seqdistill: Command) -> None:
    from seqdistill.files import locked

    (toy / "whole").mkdir()
    with locked(toy / "whole" / "data"):
        second = seqdistill("run", "toy.toml", "--out", "whole")
        _, errors = second.communicate(timeout=300)
    assert second.returncode == 2 and "another process is writing here" in errors and "Traceback" not in errors
    assert [path.name for path in (toy / "whole" / "data").iterdir()] == [".lock"]
