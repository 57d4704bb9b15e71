"""`train --quantize int8`: through the stage, continued after a cut, exported, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cut_off import cut_after
from native.compiled import engine_sets
from reversed_words import pairs
from safetensors.torch import load_file

import seqdistill
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.manifest import recorded
from seqdistill.models.saved import load_model, save_model
from seqdistill.native.student import Student
from seqdistill.options import ExportOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe
from seqdistill.stages import Outcome, run_stage
from seqdistill.training.log import read_log
from seqdistill.verbs.train import check

SIZES: dict[str, Any] = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
RNN = {"dim": 16, "embedding_dim": 8}
QUICK = {"batch_tokens": 512, "schedule": "linear", "label_smoothing": 0.0, "set": SIZES | {"dropout": 0.0}}
"""A training that learns in seconds."""
OUTLIER = 100
KINDS = {"transformer": SIZES, "hybrid": SIZES | {"cell": "lstm"}, "sru": RNN}


def options(data: Path, **values: Any) -> TrainOptions:
    given: dict[str, Any] = {"model": "transformer", "validate_every": 3, "warmup": 2, "max_updates": 6}
    given |= {"batch_tokens": 128, "tensorboard": False, "threads": 1, "precision": "float32", "log_every": 1} | values
    return TrainOptions(data=data, **{"set": KINDS.get(given["model"], {})} | given)


def train(options: TrainOptions, out: Path) -> Outcome:
    return run_stage("train", options, out, Silent(), title="train")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def rows(out: Path, kind: str = "train") -> list[Any]:
    return [row["loss"] for row in read_log(out / "log.jsonl") if row["kind"] == kind]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    prepare(train=pairs(300, 1), valid=pairs(20, 2), test=None, out=folder / "data", vocab_size=60)
    quick = QUICK | {"max_updates": 220, "validate_every": 220, "learning_rate": 1e-2, "warmup": 10}
    train(options(folder / "data", **quick), folder / "trained")
    return folder


@pytest.mark.parametrize("model", KINDS)
def test_a_cut_training_goes_on_to_the_same_bytes_and_its_model_is_a_usual_one(
    world: Path, tmp_path: Path, model: str
) -> None:
    wanted = options(world / "data", model=model, save_every=1, accumulate=2, quantize="int8", quantize_from=3)
    train(wanted, tmp_path / "whole")
    for update in (2, 4):
        cut_after(update, lambda: train(wanted, tmp_path / "cut"))
    train(wanted, tmp_path / "cut")
    ours = weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], weight) for name, weight in weights(tmp_path / "cut").items())
    # As a plain training until update 3, then not.
    train(options(world / "data", model=model, accumulate=2), tmp_path / "plain")
    pairwise = list(zip(rows(tmp_path / "whole"), rows(tmp_path / "plain"), strict=True))
    assert [one == other for one, other in pairwise] == [True] * 2 + [False] * 4
    theirs = weights(tmp_path / "plain")
    assert {name: weight.shape for name, weight in ours.items()} == {name: w.shape for name, w in theirs.items()}
    given = recorded(tmp_path / "whole")["options"]
    assert (given["quantize"], given["quantize_from"]) == ("int8", 3)


def test_a_student_rounded_while_it_writes_roll_outs_goes_on_to_the_same_bytes(world: Path, tmp_path: Path) -> None:
    given = {"objective": "imitkd+full", "teacher": world / "trained", "save_every": 1, "pool": 3}
    wanted = options(world / "data", **given, quantize="int8", quantize_from=2)
    train(wanted, tmp_path / "whole")
    for update in (1, 3):
        cut_after(update, lambda: train(wanted, tmp_path / "cut"))
    train(wanted, tmp_path / "cut")
    assert all(torch.equal(weights(tmp_path / "whole")[n], w) for n, w in weights(tmp_path / "cut").items())


def with_outliers(world: Path, out: Path) -> None:
    """The same function in float32, but every product reads one number that is a hundred times larger than the others,
    as in trained models of some sizes: the others are left with one or two whole numbers."""
    loaded = load_model(world / "trained")
    model: Any = loaded.model
    read_by = {"around_self": "self_attention.query_key_value", "around_feed_forward": "feed_forward.inner"}
    with torch.no_grad():
        for layer in (*model.encoder.layers, *model.decoder.layers):
            for around, product in read_by.items():
                norm = getattr(layer, around).norm
                norm.weight[0] *= OUTLIER
                norm.bias[0] *= OUTLIER
                layer.get_submodule(product).weight[:, 0] /= OUTLIER
    save_model(model, loaded.tokenizers, out)


def test_a_finish_of_few_updates_regains_most_of_what_int8_loses(world: Path, tmp_path: Path) -> None:
    """The loss is that of the int8 engine: of targets that the exported model scores."""
    engine_sets()
    with_outliers(world, tmp_path / "start")
    finish = QUICK | {"init": tmp_path / "start", "max_updates": 60, "learning_rate": 1e-3, "warmup": 0}
    results = {}
    for name, extra in (("plain", {}), ("rounded", {"quantize": "int8"})):
        wanted = options(world / "data", **finish, validate_every=60, **extra)
        results[name] = train(wanted, tmp_path / name).results["valid"]
    losses = {name: exported_loss(world, tmp_path / name, tmp_path) for name in ("start", "plain", "rounded")}
    # The validation of the rounded training is that of the export; that of the other one knows nothing of int8.
    assert results["rounded"]["loss"] == pytest.approx(losses["rounded"], rel=0.01)
    floats = results["plain"]["loss"]
    assert min(losses["start"], losses["plain"]) > floats + 0.2
    assert losses["rounded"] < floats + 0.6 * (losses["plain"] - floats)


def exported_loss(world: Path, model: Path, folder: Path) -> float:
    """Nats a token, EOS included, of the validation text by the int8 export."""
    exported = folder / f"{model.name}-int8"
    run_stage("export", ExportOptions(model=model, verify_lines=0), exported, Silent(), title="export")
    store, student = DataDirectory.open(world / "data").valid, Student(exported)
    assert store is not None
    sources, targets = (
        [ids(row).tolist() for row in range(len(store))] for ids in (store.source_ids, store.target_ids)
    )
    tokens, means = [len(target) + 1 for target in targets], student.score_ids(sources, targets)
    return -sum(mean * count for mean, count in zip(means, tokens, strict=True)) / sum(tokens)


def test_by_recipe_and_from_python(world: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[train.a]\ndata = "{world}/data"\nmodel = "sru"\nquantize = "int8"\nquantize_from = 9\n')
    (step,) = read_recipe(recipe, out=tmp_path / "out").steps
    assert isinstance(step.settings, TrainOptions)
    assert (step.settings.quantize, step.settings.quantize_from) == ("int8", 9)
    small = {"model": "sru", "set": RNN, "max_updates": 2, "validate_every": 2, "tensorboard": False}
    result = seqdistill.train(data=world / "data", out=tmp_path / "b", quiet=True, quantize="int8", **small)
    assert result["updates"] == 2


def test_a_decay_that_is_branched_off_may_begin_to_round(world: Path, tmp_path: Path) -> None:
    stable = options(world / "data", schedule="constant", max_updates=4)
    train(stable, tmp_path / "stable")
    branch = {"schedule": "wsd", "decay_from": tmp_path / "stable", "max_updates": 7}
    train(options(world / "data", quantize="int8", **branch), tmp_path / "rounded")
    train(options(world / "data", **branch), tmp_path / "plain")
    assert rows(tmp_path / "rounded") != rows(tmp_path / "plain")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantize_from": 3}, "quantize_from is the first update of quantize: give quantize 'int8'"),
        ({"quantize": "int8", "quantize_from": 7}, "quantize_from 7 is after the last update, max_updates 6"),
        ({"quantize": "int4"}, "unknown quantize 'int4'; "),
        (
            {"quantize": "int8", "model": "flowseq", "set": {}},
            "trains a model for the engine compiled, which does not run model 'flowseq': it draws latent variables",
        ),
    ],
)
def test_refused(world: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(options(world / "data", **values))


def test_another_rounding_does_not_go_on_from_its_checkpoints(world: Path, tmp_path: Path) -> None:
    cut_after(3, lambda: train(options(world / "data"), tmp_path / "out"))
    with pytest.raises(UserError, match="quantize"):
        train(options(world / "data", quantize="int8"), tmp_path / "out")
