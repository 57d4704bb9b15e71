"""The demo's benchmark, of a small one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from small_demo import write_demo

from benchmarks import demo
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED


@pytest.mark.slow
def test_figures_are_those_of_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_demo(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["x", "demo.toml", f"--out={tmp_path / 'run'}", f"--results={tmp_path}"]
    monkeypatch.setattr(sys, "argv", words)
    demo.main()
    found = json.loads((tmp_path / "demo.json").read_text())
    bench = json.loads((tmp_path / "run" / "speed" / "bench.json").read_text())
    teacher, student = bench["systems"]
    assert (teacher["engine"], student["engine"]) == ("ctranslate2", "compiled")
    assert teacher["bleu"] > 0 and student["bleu"] > 0
    seconds = [read_json(path)["wall_seconds"] for path in (tmp_path / "run").glob(f"*/{FINISHED}")]
    assert len(seconds) == 5
    assert found["figures"] == {
        "student_over_teacher_bleu": round(student["bleu"] / teacher["bleu"], 4),
        "teacher_ct2_over_student": round(student["times_faster"], 4),
        "minutes": round(sum(seconds) / 60, 4),
    }
    # One round, and so one ratio, of numbers that were rounded.
    assert student["times_faster"] == pytest.approx(teacher["latency_ms"] / student["latency_ms"], rel=0.05)
    assert [row["bleu"] for row in found["rows"]] == [teacher["bleu"], student["bleu"]]
    monkeypatch.setattr(sys, "argv", [*words, "--so-far"])
    demo.main()
    assert json.loads((tmp_path / "demo.json").read_text())["figures"] == found["figures"], "nothing is run again"
