"""Recipes at the papers' sizes: an update of every kind of training, on made-up data with the recipe's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from papers import full_size
from seqdistill.data.directory import DataDirectory
from seqdistill.models.interface import CountsUpdates
from seqdistill.models.saved import create_model
from seqdistill.options import TrainOptions
from seqdistill.progress import Silent
from seqdistill.recipe import read_recipe
from seqdistill.training.distributed import joined
from seqdistill.training.optim import adam, divide_and_clip, step
from seqdistill.verbs.objectives import assemble

TOKENS, SUMMARY_TOKENS = 128, 1024
"""Of a batch here: the sizes are the models', the amount is this machine's; one summary's source fits."""


@pytest.mark.slow
@pytest.mark.parametrize("path", full_size.RECIPES, ids=lambda path: path.stem)
def test_every_kind_of_training_does_an_update(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path, out=tmp_path / "out")
    data, teacher = full_size.ready(recipe, tmp_path)
    prepared = full_size.prepared_by(recipe)
    assert len(DataDirectory.open(data).tokenizers.target) == prepared.vocab_size
    for stage in full_size.kinds_of(recipe):
        changed: dict[str, Any] = {"batch_tokens": SUMMARY_TOKENS if prepared.cut_source else TOKENS}
        if stage.settings.objective.startswith("imitkd"):
            changed |= {"pool": 1, "rollout_max_length": 8}
        settings = full_size.small(stage.settings, data, teacher, **changed)
        assert_updates(settings, DataDirectory.open(data), tmp_path / stage.name)


def assert_updates(settings: TrainOptions, data: DataDirectory, out: Path) -> None:
    model = create_model(settings.model, data.tokenizers, **settings.set).train()
    with joined(torch.device("cpu")) as ranks:
        objective, batches = assemble(settings, model, data, ranks=ranks, out=out, progress=Silent())
    if isinstance(model, CountsUpdates):
        model.begin_update()
    loss = objective(next(batches))
    loss.total.backward()
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]  # FlowSeq's prior waits
    assert len(parameters) > 10
    before = [parameter.detach().clone() for parameter in parameters]
    divide_and_clip(parameters, count=float(loss.count), clip_norm=settings.clip_norm)
    step(adam(parameters, weight_decay=0.0), settings.learning_rate)
    moved = [not torch.equal(old, new) for old, new in zip(before, parameters, strict=True)]
    assert sum(moved) > 0.9 * len(moved) and all(torch.isfinite(parameter).all() for parameter in parameters)
