"""Stages side by side: the same bytes as one by one, killed or not, and a user's mistake ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_run import contents

from seqdistill import jobs as jobs_module
from seqdistill.errors import UserError
from seqdistill.jobs import side_by_side
from seqdistill.manifest import FINISHED, UNFINISHED
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe

Command = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores to share out")


@pytest.mark.slow
def test_two_jobs_whose_parent_is_killed_continue_to_the_bytes_of_one_job(
    toy: Path, seqdistill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = seqdistill("run", "toy.toml", "--out", "beside", "--jobs", "2")
    stages = [toy / "beside" / name for name in ("distilled", "fast")]  # both wait for the teacher
    while not any((stage / UNFINISHED).exists() for stage in stages):
        assert killed.poll() is None
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)  # its children hold the pipes until they are gone
    assert not all((stage / FINISHED).exists() for stage in stages)

    for directory, jobs in (("beside", "2"), ("whole", "1")):
        process = seqdistill("run", "toy.toml", "--out", directory, "--jobs", jobs)
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "BLEU" in out and "/9] distill distilled: " in errors
    assert contents(toy / "beside") == contents(toy / "whole")
    monkeypatch.chdir(toy)
    monkeypatch.setattr(jobs_module, "_begun", None)  # what is finished needs no process
    steps = read_recipe(Path("toy.toml"), out=Path("whole")).steps
    outcomes = list(side_by_side(steps, Silent, jobs=2))
    assert len(outcomes) == len(steps) and not any(outcome.done_now for _, outcome in outcomes)


def test_a_mistake_found_by_one_stage_ends_the_others_without_a_traceback(toy: Path, seqdistill: Command) -> None:
    (toy / "short.tgt").write_text("one line\n")
    extra = '[prepare.wrong]\nsource = "train.src"\ntarget = "short.tgt"\n\n'
    recipe = (toy / "toy.toml").read_text().replace("max_updates = 8", "max_updates = 100000")
    (toy / "wrong.toml").write_text(recipe.replace("[defaults.train]", extra + "[defaults.train]"))
    process = seqdistill("run", "wrong.toml", "--out", "wrong", "--jobs", "2")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "error: " in errors and "short.tgt" in errors and "Traceback" not in errors


@pytest.mark.parametrize("jobs", [0, -1, 100_000])
def test_jobs_are_one_to_the_number_of_cores(jobs: int) -> None:
    with pytest.raises(UserError, match=rf"--jobs {jobs}: expected 1 to \d+, the cores of this machine"):
        list(side_by_side([], Silent, jobs=jobs))
