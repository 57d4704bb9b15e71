"""A recipe with every kind of stage on the toy, and what must be equal when it was done twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

RECIPE = """
name = "every-kind"

[defaults.train]
max_updates = 6
warmup = 2
learning_rate = 1e-3
validate_every = 3
save_every = 2
batch_tokens = 256
tensorboard = false
precision = "float32"
threads = 1

[prepare.text]
source = "train.src"
target = "train.tgt"
valid_source = "valid.src"
valid_target = "valid.tgt"
test_source = "test.src"
test_target = "test.tgt"
vocab_size = 60

[train.teacher]
data = "text"
model = "transformer"
average_count = 2
set = { dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2 }

[distill.written]
teacher = "teacher"
data = "text"
beam = 2
shard_lines = 30
max_ratio = 0.5
workers = 1

[train.inserter]
data = "written"
model = "levt"
set = { dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2 }

[train.imitator]
data = "text"
model = "sru"
teacher = "teacher"
objective = "imitkd"
rollout_max_ratio = 0.5
set = { dim = 16, embedding_dim = 16 }

[tune-penalty.penalty]
model = "inserter"
data = "written"
penalties = [0.0, 1.0]
max_length = 9

[evaluate.scored]
model = "teacher"
data = "text"
max_ratio = 0.5
speed_lines = 0
metrics = "bleu,chrf"

[measure.measured]
corpora = ["written"]
real = "text"
source_language = "en"
target_language = "de"
samples = 40
em_iterations = 2
workers = 1

[decision-theory.decided]
a = [2.0]
b = [2.0]
hmms = 2
train_pairs = 50
test_pairs = 50
updates = 2
workers = 1

[modes.mode]
output = { teacher = "scored" }
language = { one = "train.src", other = "train.tgt" }
workers = 1
"""
TIMES = {"command", "wall_seconds", "lines_per_second", "tokens_per_second", "seconds"}
TIMES |= {"sentences_per_second", "milliseconds_per_sentence", "others", "seal"}
"""Figures that no two runs agree on, wherever they are recorded; and hashes of what holds them."""
TIMED = {"speed.json", "report.html", "measure.html", "modes.html"}


def contents(directory: Path) -> dict[str, str]:
    """A hash of every file that a run leaves, figures that measure time left out."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(_untimed(path)).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        and path.name not in TIMED
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    }


def _untimed(path: Path) -> bytes:
    if path.name == "manifest.json":
        return json.dumps(_without_times(json.loads(path.read_text()))).encode()
    if path.name == "log.jsonl":
        return json.dumps([_without_times(json.loads(line)) for line in path.open()]).encode()
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_times(part) for key, part in value.items() if key not in TIMES}
