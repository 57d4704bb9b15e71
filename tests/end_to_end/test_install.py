"""What is shipped works without the repository; torchrun trains what one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from seqdistill.models.saved import load_model

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_installs_and_runs_without_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"seqdistill"}, "nothing but the package"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    for name in ("py.typed", "reports/page.html", "reports/page.css"):
        assert (tmp_path / "site" / "seqdistill" / name).exists()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    where = "import seqdistill, seqdistill.stages; print(seqdistill.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", where],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
    )
    assert shown.stdout.startswith(str(tmp_path / "site"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ("--model", "transformer"),
        ("--model", "hybrid"),
        ("--model", "hybrid", "--set", "cell=lstm", "--objective", "imitkd+full", "--teacher", "teacher"),
    ],
    ids=["transformer", "hybrid", "hybrid of LSTM, by imitation"],
)
def test_two_processes_of_torchrun_train_like_one(
    toy: Path, seqdistill: Callable[..., subprocess.Popen[str]], model: tuple[str, ...]
) -> None:
    prepare = ("prepare", "--source", "train.src", "--target", "train.tgt", "--valid-size", "20", "--vocab-size", "60")
    assert seqdistill(*prepare, "--out", "data").wait(timeout=300) == 0
    train = ["train", "--data", "data", "--max-updates", "6", "--validate-every", "3"]
    train += ["--batch-tokens", "200", "--accumulate", "2", "--warmup", "2", "--precision", "float32"]
    train += [word for pair in ("dim=16", "ffn_dim=16", "heads=2", "encoder_layers=1") for word in ("--set", pair)]
    if "teacher" in model:
        assert seqdistill(*train, "--model", "transformer", "--out", "teacher").wait(timeout=300) == 0
    train += model
    assert seqdistill(*train, "--out", "one").wait(timeout=300) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "seqdistill", *train]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = subprocess.run(
        [*torchrun, "--out", "two"], cwd=toy, env=environment, capture_output=True, text=True, timeout=300
    )
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("perplexity") == 1
    source, context = torch.tensor([[7, 8, 9, 3]]), torch.tensor([[2, 7, 8]])
    with torch.no_grad():
        log_probs = [load_model(toy / name).model.eval()(source, context).log_softmax(-1) for name in ("one", "two")]
    assert torch.allclose(*log_probs, atol=1e-3)
