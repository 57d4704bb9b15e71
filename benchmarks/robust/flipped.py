"""A small world of everything that verbs read, and for each kind of file a verb that reads it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NamedTuple

import torch

import seqdistill
from seqdistill import api
from seqdistill.loading import load
from seqdistill.manifest import FINISHED, UNFINISHED, recorded, recorded_fingerprint
from seqdistill.seals import write_sealed

LINES = ["a red lamp", "the open door", "heat and light", "a closed door", "the lamp"]
WORDS = ["red", "lamp", "open", "door", "heat", "light", "closed", "cold", "blue", "window"]
TINY = {"dim": 16, "ffn_dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
FAST: dict[str, Any] = {"device": "cpu", "quiet": True}
TRAIN = FAST | {"precision": "float32", "batch_tokens": 256, "tensorboard": False, "warmup": 1, "set": TINY}
SEARCH: dict[str, Any] = {"beam": 2, "max_ratio": 1.0}
DECODE: dict[str, Any] = FAST | SEARCH


for module in walk_packages(seqdistill.__path__, "seqdistill."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
import_module("torch._dynamo")  # the first optimizer imports it; all this once, before processes are forked


class Kind(NamedTuple):
    """Files of one kind, and what reads them."""

    name: str
    folder: str
    """Of the world; it is copied, and the copy altered."""
    files: tuple[str, ...]
    """Patterns of the files that are altered, in the folder."""
    read: Callable[[Path, Path, Path, Path], str]
    """(world, copy, altered file in it, folder to write to) -> hash of the verb's output."""

    @property
    def copy(self) -> str:
        """Name of the copy."""
        return Path(self.folder).name


def build(world: Path) -> None:
    """Makes the world, complete or not at all."""
    torch.set_num_threads(1)
    beside = world.with_name(f"{world.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    run, os.environ["SEQDISTILL_CACHE"] = beside / "run", str(beside / "cache")
    run.mkdir(parents=True)
    text = {"source": _text(beside / "train.en", 1), "target": _text(beside / "train.de", -1)}
    api.prepare(
        **text,
        valid_size=10,
        test_source=_text(beside / "test.en", 1, seed=2, lines=12),
        test_target=_text(beside / "test.de", -1, seed=2, lines=12),
        vocab_size=60,
        out=run / "data",
        quiet=True,
    )
    data = run / "data"
    training = TRAIN | {"data": data, "max_updates": 4, "validate_every": 2, "log_every": 1}
    api.train(model="transformer", out=run / "teacher", **training)
    api.train(model="inst", out=beside / "inserter", **training)
    api.train(
        model="gru",
        objective="dagger",
        teacher=run / "teacher",
        dagger_rounds=2,
        rollout_beam=1,
        out=beside / "dagger",
        **(training | {"set": {"dim": 16}}),
    )
    api.evaluate(model=run / "teacher", data=data, speed_lines=0, out=run / "scores", **DECODE)
    api.distill(teacher=run / "teacher", data=data, shard_lines=20, workers=1, out=beside / "distilled", **DECODE)
    api.tune_penalty(model=beside / "inserter", data=data, penalties=[0.0, 1.0], out=beside / "tuned", **FAST)
    api.measure(corpora=[data], samples=40, workers=1, out=beside / "measured", quiet=True)
    api.decision_theory(out=beside / "studied", **STUDY)
    shared: dict[str, Any] = {"model": run / "teacher", "shortlist": data, "verify_lines": 5, "workers": 1}
    api.export(**shared, out=beside / "exported", quiet=True)
    api.export(**shared, to="ctranslate2", out=beside / "converted", quiet=True)
    load(run / "teacher", engine="ctranslate2", compute_type="float32")
    shutil.copytree(data, beside / "copied")
    (beside / "copied" / FINISHED).unlink()
    _cut_off(run / "teacher", beside / "training", "model")
    _cut_off(beside / "dagger", beside / "rounds", "model")
    _cut_off(
        beside / "distilled", beside / "decoding", "data.json", "train.arrow", "valid.arrow", "test.arrow", "tokenizer"
    )
    _cut_off(beside / "tuned", beside / "tuning", "penalty.json")
    _cut_off(beside / "measured", beside / "measuring", "measures.html")
    _cut_off(beside / "studied", beside / "studying", "study.json")
    beside.rename(world)


STUDY: dict[str, Any] = {
    "a": [1.0],
    "b": [1.0],
    "hmms": 2,
    "states": 3,
    "symbols": 3,
    "length": 4,
    "train_pairs": 20,
    "test_pairs": 20,
    "updates": 2,
    "batch": 10,
    "hidden": 4,
    "embedding": 4,
    "workers": 1,
    "quiet": True,
}


def _text(path: Path, step: int, *, seed: int = 1, lines: int = 60) -> Path:
    """Lines of words drawn by a seed; a translation has them in the other order."""
    draw = random.Random(seed)
    rows = [draw.choices(WORDS, k=draw.randint(3, 7)) for _ in range(lines)]
    path.write_text("".join(" ".join(row[::step]) + "\n" for row in rows))
    return path


def _cut_off(stage: Path, unfinished: Path, *without: str) -> None:
    """A copy of a finished stage as a kill had left it before its last files."""
    shutil.copytree(stage, unfinished)
    manifest = recorded(unfinished)
    begun = {key: manifest[key] for key in ("edition", "kind", "options", "inputs", "machines")} | {"seconds": 1.0}
    (unfinished / FINISHED).unlink()
    for name in without:
        path = unfinished / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_sealed(unfinished / UNFINISHED, begun)


def _outputs(stage: Path) -> str:
    """Hash of all outputs of a stage that has just ended."""
    return recorded_fingerprint(recorded(stage))


def _hash(folder: Path, *patterns: str) -> str:
    """Of the files that a verb wrote."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _data(world: Path, copy: Path, name: Path, out: Path) -> str:
    """A split by the verb that reads it; the rest by `evaluate`."""
    if name.name == "train.arrow":
        api.measure(corpora=[copy], samples=40, workers=1, out=out, quiet=True)
        return _outputs(out)
    split = "valid" if name.name == "valid.arrow" else "test"
    api.evaluate(model=world / "run/teacher", data=copy, split=split, speed_lines=0, out=out, **DECODE)
    return _outputs(out)


def _translated(model: Path, **options: Any) -> str:
    lines = load(model, device="cpu", **options).translate(LINES, max_ratio=1.0)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _model(world: Path, copy: Path, name: Path, out: Path) -> str:
    return _translated(copy)


def _exported(world: Path, copy: Path, name: Path, out: Path) -> str:
    lines = load(copy).translate(LINES, max_ratio=1.0)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _converted(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.bench(models=[copy], data=world / "run/data", rounds=1, speed_lines=1, out=out, quiet=True, **SEARCH)
    return _outputs(out)


def _conversion(world: Path, copy: Path, name: Path, out: Path) -> str:
    os.environ["SEQDISTILL_CACHE"] = str(copy)
    return _translated(world / "run/teacher", engine="ctranslate2", compute_type="float32")


def _penalty(world: Path, copy: Path, name: Path, out: Path) -> str:
    return _translated(world / "inserter", penalty_file=copy / "penalty.json")


def _training(world: Path, copy: Path, name: Path, out: Path) -> str:
    options = TRAIN | {"data": world / "run/data", "max_updates": 4, "validate_every": 2, "log_every": 1}
    api.train(model="transformer", out=copy, **options)
    return _outputs(copy) + _hash(copy, "log.jsonl")


def _rounds(world: Path, copy: Path, name: Path, out: Path) -> str:
    options = TRAIN | {"data": world / "run/data", "max_updates": 4, "validate_every": 2, "log_every": 1}
    options |= {"set": {"dim": 16}, "objective": "dagger", "teacher": world / "run/teacher", "dagger_rounds": 2}
    api.train(model="gru", rollout_beam=1, out=copy, **options)
    return _outputs(copy) + _hash(copy, "log.jsonl")


def _decoding(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.distill(teacher=world / "run/teacher", data=world / "run/data", shard_lines=20, workers=1, out=copy, **DECODE)
    return _outputs(copy)


def _tuning(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.tune_penalty(model=world / "inserter", data=world / "run/data", penalties=[0.0, 1.0], out=copy, **FAST)
    return _outputs(copy)


def _measuring(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.measure(corpora=[world / "run/data"], samples=40, workers=1, out=copy, quiet=True)
    return _outputs(copy)


def _studying(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.decision_theory(out=copy, **STUDY)
    return _outputs(copy)


def _report(world: Path, copy: Path, name: Path, out: Path) -> str:
    api.report(copy, page=out / "page.html")
    return _hash(out, "page.html")


def _compared(world: Path, copy: Path, name: Path, out: Path) -> str:
    found = api.compare(copy / "hypotheses.txt", copy / "references.txt", reference=copy / "references.txt")
    return hashlib.sha256(repr(found).encode()).hexdigest()


DATA = ("*.arrow", "data.json", "tokenizer/*")
KINDS = (
    Kind("data of a stage", "run/data", (*DATA, "manifest.json"), _data),
    Kind("data by themselves", "copied", DATA, _data),
    Kind("model", "run/teacher/model", ("*", "tokenizer/*"), _model),
    Kind("exported model", "exported", ("export.json", "*.bin", "tokenizer/*"), _exported),
    Kind("exported conversion", "converted", ("*", "tokenizer/*"), _converted),
    Kind("conversion", "cache", ("*/*/*", "*/*/*/*"), _conversion),
    Kind("checkpoints", "training", ("checkpoints/**/*", "log.jsonl", "unfinished.json"), _training),
    Kind("rounds", "rounds", ("checkpoints/**/*", "rounds/*", "log.jsonl", "unfinished.json"), _rounds),
    Kind("shards", "decoding", ("shards/*", "unfinished.json"), _decoding),
    Kind("penalty", "tuned", ("penalty.json",), _penalty),
    Kind("trials", "tuning", ("trials.json", "unfinished.json"), _tuning),
    Kind("alignment", "measuring", ("*/*", "unfinished.json"), _measuring),
    Kind("study", "studying", ("hmms/*", "unfinished.json"), _studying),
    Kind("run", "run", ("*/manifest.json", "scores/*", "teacher/log.jsonl"), _report),
    Kind("outputs", "run/scores", ("hypotheses.txt", "references.txt", "manifest.json"), _compared),
)
"""Tried in turn."""
