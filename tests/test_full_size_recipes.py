"""Recipes at the papers' sizes: one update of every kind of training, on made-up data with the recipe's vocabulary."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.models.saved import create_model, save_model
from seqdistill.progress import Silent
from seqdistill.recipe import Step, read_recipe
from seqdistill.settings import PrepareSettings, TrainSettings
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.verbs.train import train

FOLDER = Path(__file__).parents[1] / "recipes" / "full-size"
TOKENS = 512
"""Of a batch here: the sizes are the models', the amount is this machine's."""


def made_up_data(prepared: PrepareSettings, out: Path) -> DataDirectory:
    """A data directory with a vocabulary as large as the recipe's, of sentences of random letters."""
    generator = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(generator.choice(letters, 8)) for _ in range(prepared.vocab_size // 2)]
    lines = [" ".join(words[start : start + 8]) for start in range(0, len(words), 8)]
    pairs = ParallelCorpus.from_pairs("made up", list(zip(lines, reversed(lines), strict=True)))
    few = ParallelCorpus.from_pairs("few", [("one two", "three four")])
    prepare(train=pairs, valid=few, test=few, out=out, vocab_size=prepared.vocab_size, joint=prepared.joint)
    return DataDirectory.open(out)


def kinds_of(steps: tuple[Step, ...]) -> list[Step]:
    """One training of each model, sizes and objective."""

    def kind(step: Step) -> tuple[Any, ...]:
        settings = step.settings
        assert isinstance(settings, TrainSettings)
        return settings.objective, settings.model, sorted(settings.set.items())

    trainings = sorted((step for step in steps if step.kind == "train"), key=kind)
    return [next(group) for _, group in itertools.groupby(trainings, key=kind)]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_kind_of_training_does_an_update(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path, out=tmp_path / "out")
    steps = {step.name: step.settings for step in recipe.steps}
    prepared, teacher = steps["data"], steps["teacher"]
    assert isinstance(prepared, PrepareSettings) and isinstance(teacher, TrainSettings)
    data = made_up_data(prepared, tmp_path / "data")
    assert len(data.tokenizers.target) == prepared.vocab_size
    torch.manual_seed(1)
    save_model(create_model(teacher.model, data.tokenizers, **teacher.set), data.tokenizers, tmp_path / "teacher")
    small = {"data": data.path, "init": None, "max_updates": 1, "batch_tokens": TOKENS, "accumulate": 1}
    for step in kinds_of(recipe.steps):
        assert isinstance(step.settings, TrainSettings)
        given = {"teacher": [tmp_path / "teacher"]} if step.settings.teacher else {}
        short = {"pool": 1, "rollout_max_length": 8} if step.settings.objective.startswith("imitkd") else {}
        settings = step.settings.model_copy(update=small | given | short)
        results = train(settings, tmp_path / step.name, Silent())
        assert results["updates"] == 1
