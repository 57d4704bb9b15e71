"""The trials of benchmarks/robustness.py, a few of each: their own answers are checked, then what they find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.robust.cases import Case
from benchmarks.robust.command_lines import judged
from benchmarks.robust.process import Ended
from benchmarks.robust.toy import snapshot

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("code", "out", "err", "wanted", "end"),
    [
        (0, "a\n", "", "done", "valid"),
        (0, "a\n", "", "refused", "silent"),
        (0, "", "", "done", "silent"),
        (2, "", "error: no\n", "refused", "refused"),
        (2, "", "error: no\n", "done", "refused_wrongly"),
        (2, "", "", "refused", "tracebacks"),
        (2, "", "error: a\nerror: b\n", "refused", "tracebacks"),
        (2, "", "error: \x1b[31m\n", "refused", "tracebacks"),
        (1, "", "Traceback", "refused", "tracebacks"),
        (0, "a\n", "Traceback", "done", "tracebacks"),
        (-6, "", "", "either", "tracebacks"),
        (None, "", "", "either", "hangs"),
    ],
)
def test_ends_are_judged(tmp_path: Path, code: int | None, out: str, err: str, wanted: str, end: str) -> None:
    case = Case("a kind", ["translate"], wanted, lines_out=1)  # type: ignore[arg-type]
    assert judged(case, Ended(code, out, err, 1.0), tmp_path, {})[0] == end


def test_a_changed_file_is_no_clean_refusal(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a")
    before = snapshot(tmp_path)
    case, ended = Case("a kind", ["translate"], "refused"), Ended(2, "", "error: no\n", 1.0)
    assert judged(case, ended, tmp_path, before)[0] == "refused"
    (tmp_path / "text").unlink()
    assert judged(case, ended, tmp_path, before) == ("tracebacks", "changed: text")


@pytest.mark.slow
def test_a_few_trials_of_each_part_end_as_they_should(tmp_path: Path) -> None:
    words = ["--parts", "command_lines,interrupts,kills", "--scale", "0.02", "--seed", "11", "--work", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "benchmarks.robustness", *words]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = {}
    for part in ("command_lines", "interrupts", "kills"):
        (kept,) = tmp_path.glob(f"{part}-11-*.json")
        found |= json.loads(kept.read_text())["figures"]
    assert (found["command_lines"], found["interrupts"], found["kills"]) == (42, 1, 2)
    assert found["refused"] + found["valid"] == 42, (tmp_path / "command_lines-11.jsonl").read_text()
    assert found["interrupts_unclean"] == found["kills_differing"] == 0, done.stderr
