"""Training in processes of its own: killed and continued, and shared by two under torchrun."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Data
from run_training import main, small
from safetensors.torch import load_file

from seqdistill.data.batches import ordered_batches
from seqdistill.training import optim
from seqdistill.training.checkpoint import saved
from seqdistill.training.log import read_log
from seqdistill.vocabulary.sentencepiece import PAD

SCRIPT = Path(__file__).parent / "run_training.py"
OPTIONS = {
    "precision": "float32",
    "warmup": 10,
    "learning_rate": 5e-3,
    "log_every": 4,
    "average_count": 2,
    "threads": 1,
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(data: Data, out: Path, *launcher: str, **options: Any) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, *launcher, str(SCRIPT), str(data.train.path.parent), str(out)]
    return subprocess.run(
        [*command, json.dumps(OPTIONS | options)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
    )


def train_here(data: Data, out: Path, **options: Any) -> None:
    main(data.train.path.parent, out, OPTIONS | options)


def logged(out: Path) -> list[dict[str, Any]]:
    rows = read_log(out / "log.jsonl")
    return [{key: value for key, value in row.items() if key != "tokens_per_second"} for row in rows]


def figures(out: Path) -> list[dict[str, Any]]:
    """The rows that are numbers."""
    return [row for row in logged(out) if row["kind"] in ("train", "valid")]


@pytest.mark.slow
def test_killed_at_any_moment_and_continued_is_never_killed(data: Data, tmp_path: Path) -> None:
    """While a checkpoint is written, between two, and before old ones go: the same bytes of final weights."""
    options = {"max_updates": 30, "validate_every": 10, "save_every": 4}
    train_here(data, tmp_path / "whole", **options)
    for die_at, left in (("writing", []), (14, [10, 12]), ("pruning", [10, 12, 16])):
        killed = start(data, tmp_path / "parts", **options, die_at=die_at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert [int(path.name) for path in saved(tmp_path / "parts" / "checkpoints")] == left, f"after {die_at}"
    train_here(data, tmp_path / "parts", **options)
    files = [tmp_path / name / "final.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert logged(tmp_path / "whole") == logged(tmp_path / "parts")


@pytest.mark.slow
def test_two_ranks_train_as_one(data: Data, tmp_path: Path) -> None:
    """Same options, with dropout: log-probabilities agree to 1e-4 and scores to 1e-4 of them.

    Sums of float32 in another order are all that differs. Weights are not compared: an attention's key bias has no
    gradient but rounding, which Adam blows up to steps of full size, and no influence on the output.
    Also when one process continues, after half the updates, what two began.
    """
    options = {"max_updates": 12, "validate_every": 6, "accumulate": 4}
    train_here(data, tmp_path / "one", **options)
    shared = start(data, tmp_path / "two", *TORCHRUN, **options)
    assert shared.returncode == 0, shared.stderr
    shutil.copytree(tmp_path / "two", tmp_path / "handed over")
    shutil.rmtree(tmp_path / "handed over" / "checkpoints" / "00000012")
    train_here(data, tmp_path / "handed over", **options)
    expected = log_probs(data, tmp_path / "one")
    for name in ("two", "handed over"):
        torch.testing.assert_close(log_probs(data, tmp_path / name), expected, rtol=0, atol=1e-4)
        kinds = [row["kind"] for row in logged(tmp_path / name)]
        assert kinds.count("machine") == (name == "handed over"), "other processes are told of"
        for row, its in zip(figures(tmp_path / "one"), figures(tmp_path / name), strict=True):
            assert its.pop("kind") == row["kind"]
            assert its == pytest.approx({key: row[key] for key in its}, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["inat", "cmlm", "inst", "levt", "flowseq", "mixture"])
def test_models_go_on_after_a_kill(data: Data, tmp_path: Path, model: str) -> None:
    """What they mask, corrupt and drop is drawn again; checkpoints are averaged and chosen by BLEU."""
    options = {"model": model, "max_updates": 6, "validate_every": 3, "save_every": 2}
    train_here(data, tmp_path / "whole", **options)
    killed = start(data, tmp_path / "parts", **options, die_at=5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [int(path.name) for path in saved(tmp_path / "parts" / "checkpoints")] == [3, 4]
    train_here(data, tmp_path / "parts", **options)
    files = [tmp_path / name / "final.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert logged(tmp_path / "whole") == logged(tmp_path / "parts")
    assert all("bleu" in row for row in logged(tmp_path / "whole") if row["kind"] == "valid")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cmlm", "inst", "levt", "flowseq", "mixture"])
def test_models_train_in_two_processes_as_in_one(data: Data, tmp_path: Path, model: str) -> None:
    """Labels are the words that were masked, another number in each process; the first process fits FlowSeq's parts,
    and tells of the experts that won its own sentences."""
    options = {"model": model, "max_updates": 4, "validate_every": 2, "accumulate": 2, "log_every": 1}
    train_here(data, tmp_path / "one", **options)
    shared = start(data, tmp_path / "two", *TORCHRUN, **options)
    assert shared.returncode == 0, shared.stderr
    for row, its in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert its.pop("kind") == row["kind"]
        same = [key for key in its if not key.endswith("_share")]
        assert [its[key] for key in same] == pytest.approx([row[key] for key in same], rel=1e-4)


@pytest.mark.slow
def test_rounded_trainings_are_shared_by_two_processes_and_killed(data: Data, tmp_path: Path) -> None:
    """From update 3 on, weights and what enters products are rounded for int8. A sum that differs in its last bit may
    round to another whole number, so two processes agree less closely than without; a kill changes nothing."""
    options = {"max_updates": 6, "validate_every": 6, "accumulate": 2, "log_every": 1, "save_every": 2}
    options |= {"quantize": "int8", "quantize_from": 3}
    train_here(data, tmp_path / "one", **options)
    shared = start(data, tmp_path / "two", *TORCHRUN, **options)
    assert shared.returncode == 0, shared.stderr
    for row, its in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert its.pop("kind") == row["kind"]
        assert its == pytest.approx({key: row[key] for key in its}, rel=5e-3)
    killed = start(data, tmp_path / "parts", **options, die_at=5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    train_here(data, tmp_path / "parts", **options)
    files = [tmp_path / name / "final.safetensors" for name in ("one", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert logged(tmp_path / "one") == logged(tmp_path / "parts")


@pytest.mark.parametrize("model", ["nat", "inat", "cmlm", "inst", "levt", "mixture"])
def test_rounded_trainings_in_bfloat16(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Emulated here; float32's losses but for bfloat16's rounding."""
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    losses = {}
    for precision in ("float32", "bfloat16"):
        options = {"model": model, "dropout": 0.0, "max_updates": 4, "validate_every": 4, "log_every": 1}
        train_here(data, tmp_path / precision, **options, precision=precision, quantize="int8")
        losses[precision] = [row["loss"] for row in logged(tmp_path / precision)]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("model", ["nat", "inat", "cmlm", "inst", "levt", "flowseq", "mixture"])
def test_models_train_in_bfloat16(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Emulated here. Losses are those of float32 but for its rounding, in the first update, which FlowSeq's parts are
    fitted in, and in later ones, one of which brings FlowSeq's prior."""
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    losses = {}
    for precision in ("float32", "bfloat16"):
        options = {"model": model, "dropout": 0.0, "max_updates": 4, "validate_every": 4, "log_every": 1}
        train_here(data, tmp_path / precision, **options, precision=precision)
        losses[precision] = [row["loss"] for row in logged(tmp_path / precision)]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def log_probs(data: Data, out: Path) -> torch.Tensor:
    """Of every next token of the validation targets under the final weights."""
    model: Any = small("transformer-tiny", data.tokenizers, dropout=0.0).eval()
    model.load_state_dict(load_file(out / "final.safetensors"), strict=False)
    (batch,) = ordered_batches(data.valid, max_tokens=10**6)
    with torch.no_grad():
        return model(batch.source, batch.target).log_softmax(-1)[batch.target != PAD]
