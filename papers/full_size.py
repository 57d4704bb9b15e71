"""What do the recipes at the papers' full sizes need? Updates on made-up data, timed; writes bench-full-size.

    python -m papers.full_size [papers/lin2020/full-size/NAME.toml ...] [--updates 3] [--share 1.0] [--device auto]

Each kind of training of a recipe (model, sizes, objective) does a few updates on random sentences with the recipe's
vocabulary, on batches of `--share` of the recipe's tokens. Hours are those of all its updates at the measured rate, on
this device; decoding and validation come on top. On a CPU give a small share.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence.script import arguments, execute, record
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.models.saved import create_model, save_model
from seqdistill.options import PrepareOptions, TrainOptions
from seqdistill.progress import Silent
from seqdistill.recipe import Recipe, Step, read_recipe
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.filters import Filters
from seqdistill.verbs.train import train

RECIPES = sorted(Path(__file__).parent.glob("*/full-size/*.toml"))


def made_up_data(prepared: PrepareOptions, out: Path) -> DataDirectory:
    """A data directory with a vocabulary as large as the recipe's, of sentences of random letters.

    Sources and targets have 24 words; of a summary's, sources have 400 and targets 60.
    """
    generator = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(generator.choice(letters, 8)) for _ in range(prepared.vocab_size // 2)]
    lengths = (400, 60) if prepared.cut_source else (24, 24)
    pairs = []
    for start in range(0, 3 * len(words), 8):
        shifted = [words[(start + step) % len(words)] for step in range(max(lengths))]
        pairs.append((" ".join(shifted[: lengths[0]]), " ".join(shifted[: lengths[1]][::-1])))
    text = ParallelCorpus.from_pairs("made up", pairs)
    few = ParallelCorpus.from_pairs("few", [("one two", "three four")])
    filters = Filters(max_length=max(lengths), max_ratio=float(max(lengths)))
    prepare(train=text, valid=few, test=few, out=out, vocab_size=prepared.vocab_size, filters=filters)
    return DataDirectory.open(out)


def kinds_of(recipe: Recipe) -> list[Step]:
    """One training of each model, sizes and objective."""

    def kind(step: Step) -> tuple[Any, ...]:
        settings: Any = step.settings
        return settings.objective, settings.model, str(settings.set), settings.batch_tokens

    trainings = sorted((step for step in recipe.steps if step.kind == "train"), key=kind)
    return [next(group) for _, group in itertools.groupby(trainings, key=kind)]


def small(settings: TrainOptions, data: Path, teacher: Path, **changed: Any) -> TrainOptions:
    """The same training on other data, from a teacher with random weights."""
    values = {"data": data, "init": None, "teacher": [teacher] if settings.teacher else []}
    return settings.model_copy(update=values | changed)


def prepared_by(recipe: Recipe) -> PrepareOptions:
    """How the recipe's text is prepared."""
    return next(step.settings for step in recipe.steps if isinstance(step.settings, PrepareOptions))


def ready(recipe: Recipe, work: Path) -> tuple[Path, Path]:
    """Made-up data, and a teacher with random weights: the recipe's first model."""
    teacher = next(step.settings for step in recipe.steps if isinstance(step.settings, TrainOptions))
    data = made_up_data(prepared_by(recipe), work / "data")
    torch.manual_seed(1)
    save_model(create_model(teacher.model, data.tokenizers, **teacher.set), data.tokenizers, work / "teacher")
    return work / "data", work / "teacher"


def main() -> None:
    parser = arguments(__doc__, updates=3, share=1.0, device="auto", work=Path("build/benchmarks/full-size"))
    parser.add_argument("recipes", type=Path, nargs="*", default=RECIPES)
    given = parser.parse_args()
    rows = []
    for path in given.recipes:
        recipe, work = read_recipe(path), given.work / path.stem
        shutil.rmtree(work, ignore_errors=True)
        data, teacher = ready(recipe, work)
        for step in kinds_of(recipe):
            rows.append({"recipe": path.stem, "system": step.name} | measured(step, data, teacher, work, given))
            print(rows[-1], flush=True)
    figures = {
        f"{recipe.replace('-', '_')}_hours_of_the_longest": round(max(row["hours"] for row in group), 1)
        for recipe, group in ((name, list(rows_)) for name, rows_ in itertools.groupby(rows, lambda row: row["recipe"]))
    }
    claim = "Hours and memory of one training of each kind at the papers' full sizes, by a few updates on made-up data"
    record("bench-full-size", given, claim=claim, figures=figures, rows=rows)


def measured(step: Step, data: Path, teacher: Path, work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an update at the recipe's batch, hours of the training, and the peak of memory so far.

    Every target of an imitation is a roll-out, and random weights write up to their limit; every update of FlowSeq has
    its prior: upper bounds.
    """
    settings: Any = step.settings
    tokens = max(1024, int(settings.batch_tokens * given.share))
    fixed: dict[str, Any] = {"pool": 1, "mixing": "constant"} if settings.objective.startswith("imitkd") else {}
    if settings.model.startswith("flowseq"):
        fixed["set"] = {**settings.set, "autoencoder_updates": 0}
    seconds, parameters = [], 0
    for updates in (1, 1 + given.updates):
        changed = {"batch_tokens": tokens, "accumulate": 1, "max_updates": updates, "validate_every": updates}
        run = small(settings, data, teacher, device=given.device, tensorboard=False, **changed, **fixed)
        out = work / "timed"
        began = time.perf_counter()
        parameters = train(run, out, Silent())["parameters"]
        seconds.append(time.perf_counter() - began)
        shutil.rmtree(out)
    update = (seconds[1] - seconds[0]) / given.updates * settings.batch_tokens / tokens * settings.accumulate
    on_gpu = torch.cuda.is_available() and given.device != "cpu"
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "parameters": parameters,
        "measured_tokens": tokens,
        "seconds_per_update": round(update, 3),
        "hours": round(update * settings.max_updates / 3600, 1),
        "peak_mb": round(peak / 2**20),
    }


if __name__ == "__main__":
    execute(main)
