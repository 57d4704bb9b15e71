"""`train --start-from`, and hybrids under every objective: through the stage, continued after a cut, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cut_off import cut_after
from reversed_words import pairs
from safetensors.torch import load_file

from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.options import EvaluateOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.stages import Outcome, run_stage

SIZES = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 2, "decoder_layers": 2}


def options(data: Path, **values: Any) -> TrainOptions:
    given: dict[str, Any] = {"model": "transformer", "set": SIZES, "validate_every": 3, "warmup": 2, "max_updates": 4}
    given |= {"batch_tokens": 128, "tensorboard": False, "threads": 1, "precision": "float32", "log_every": 2}
    return TrainOptions(data=data, **given | values)


def train(options: TrainOptions, out: Path) -> Outcome:
    return run_stage("train", options, out, Silent(), title="train")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    prepare(train=pairs(80, 1), valid=pairs(10, 2), test=pairs(5, 3), out=folder / "data", vocab_size=60)
    prepare(train=pairs(80, 1), valid=pairs(10, 2), test=None, out=folder / "other", vocab_size=50)
    train(options(folder / "data"), folder / "teacher")
    return folder


def test_a_frozen_start_keeps_what_was_copied_and_learns_the_rest(world: Path, tmp_path: Path) -> None:
    hybrid = {"model": "hybrid", "start_from": world / "teacher", "start_rate": 0.0}
    results = train(options(world / "data", **hybrid), tmp_path / "student").results
    assert "decoder layer 2: copied from layer 2; new: recurrence, around recurrence" in results["started"]
    ours, theirs = weights(tmp_path / "student"), weights(world / "teacher")
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 40 and all(torch.equal(ours[name], theirs[name]) for name in shared)
    train(options(world / "data", model="hybrid"), tmp_path / "drawn")
    drawn = weights(tmp_path / "drawn")
    assert not torch.equal(
        drawn["encoder.layers.0.feed_forward.inner.weight"], theirs["encoder.layers.0.feed_forward.inner.weight"]
    )


@pytest.mark.parametrize("objective", ["nll", "nll+full", "imitkd", "imitkd+full", "dagger", "dagger+full"])
@pytest.mark.parametrize("cell", ["ssru", "lstm"])
def test_a_hybrid_learns_by_every_objective_and_continues_to_the_same_bytes(
    world: Path, tmp_path: Path, objective: str, cell: str
) -> None:
    teacher = {} if objective == "nll" else {"teacher": world / "teacher", "objective": objective}
    rounds = {"dagger_rounds": 2} if objective.startswith("dagger") else {}
    hybrid = {"model": "hybrid", "set": SIZES | {"cell": cell}, "start_from": world / "teacher", "start_rate": 0.5}
    wanted = options(world / "data", save_every=1, **hybrid, **teacher, **rounds)
    train(wanted, tmp_path / "whole")
    cut_after(3, lambda: train(wanted, tmp_path / "cut"))
    train(wanted, tmp_path / "cut")
    assert all(torch.equal(weights(tmp_path / "whole")[n], w) for n, w in weights(tmp_path / "cut").items())
    scored = EvaluateOptions(model=tmp_path / "cut", data=world / "data", beam=3, speed_lines=0, max_ratio=1.0)
    assert run_stage("evaluate", scored, tmp_path / "scores", Silent(), title="e").results["perplexity"] > 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start_rate": 0.5}, "start_rate belongs to start_from: name a model to start from, or leave start_rate 1.0"),
        ({"start_encoder": [1]}, "start_encoder belongs to start_from"),
        ({"start_from": "TEACHER", "init": "TEACHER"}, "start_from and init both say what the weights begin with"),
        (
            {"start_from": "TEACHER", "start_decoder": [3]},
            "start_decoder 3: the decoder of .*teacher has layers 1",
        ),
        ({"start_from": "TEACHER", "data": "OTHER"}, "teacher: has another vocabulary than the data"),
        ({"start_from": "TEACHER", "set": SIZES | {"dim": 32}}, "dim is 32, there 16: give --set dim=16"),
    ],
)
def test_starts_that_cannot_be(world: Path, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    places = {"TEACHER": world / "teacher", "OTHER": world / "other"}
    values = {name: places.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
    with pytest.raises(UserError, match=message):
        train(options(values.pop("data", world / "data"), **values), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_was_started_is_recorded_and_compared(world: Path, tmp_path: Path) -> None:
    wanted = options(world / "data", model="hybrid", start_from=world / "teacher")
    train(wanted, tmp_path / "student")
    assert "start_from" in read_json(tmp_path / "student" / "manifest.json")["inputs"]
    assert not train(wanted, tmp_path / "student").done_now
    with pytest.raises(UserError, match=r"start_rate: 1\.0 there, 0\.5 now"):
        train(wanted.replaced(start_rate=0.5), tmp_path / "student")
