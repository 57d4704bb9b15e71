"""The benchmark of students that start from their teacher, in seconds; it cannot be in minutes."""

import json
import sys

import pytest

from benchmarks import students_from_teachers as benchmark
from benchmarks.robust import toy
from seqdistill.options import DistillOptions, EvaluateOptions, PrepareOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.stages import run_stage


def recipe_of_a_teacher(folder):
    """The stages that the benchmark begins with."""
    toy.write_text(folder)
    text = {
        f"{part}{side}": folder / f"{(part or 'train_')[:-1]}.{end}"
        for part in ("", "valid_", "test_")
        for side, end in (("source", "src"), ("target", "tgt"))
    }
    run = folder / "run"
    model = {"model": "transformer", "set": {**toy.SIZES, "encoder_layers": 2}, "threads": 1, "tensorboard": False}
    training = {"max_updates": 60, "warmup": 5, "validate_every": 60, "batch_tokens": 512, "learning_rate": 5e-3}
    limits = {"beam": 1, "max_ratio": 1.0, "max_length": 20}
    stages = {
        "data": PrepareOptions(vocab_size=60, **text),
        "teacher": TrainOptions(data=run / "data", **model, **training),
        "seqkd": DistillOptions(data=run / "data", teacher=run / "teacher", workers=1, **limits),
        "test": EvaluateOptions(data=run / "data", model=run / "teacher", speed_lines=0, **limits),
    }
    kinds = {"data": "prepare", "teacher": "train", "seqkd": "distill", "test": "evaluate"}
    for name, settings in stages.items():
        run_stage(kinds[name], settings, run / name, Silent(), title=name)
    return run


@pytest.mark.slow
def test_every_student_start_and_minute_has_a_row_and_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    run = recipe_of_a_teacher(tmp_path)
    monkeypatch.setattr(benchmark, "TIMED_UPDATES", 12)
    monkeypatch.setattr(benchmark, "TIMED_ROUNDS", 1)
    words = ["x", f"--run={run}", f"--work={tmp_path / 'work'}", f"--results={tmp_path}", "--minutes=0.002"]
    monkeypatch.setattr(sys, "argv", words)
    benchmark.main()
    found = json.loads((tmp_path / "students-from-teachers-run.json").read_text())
    assert len(found["rows"]) == 3 * 3 + 2 and len(found["figures"]) == 1 + 11
    rates = json.loads((tmp_path / "work" / "run" / "rates.json").read_text())
    for row in found["rows"]:
        if row["start"] != "started, imitation":
            assert row["updates"] == max(1, round(row["minutes"] * rates[f"{row['student']} nll"]))
        assert ("over_new" in row) == (row["start"] != "new")
    assert benchmark.minutes_of("4,.5") == [0.5, 4]
    before = toy.snapshot(tmp_path / "work")
    benchmark.main()
    assert toy.snapshot(tmp_path / "work") == before
