"""A toy language pair and a recipe that goes the whole way on it in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.robust.toy import write_text

RECIPE = """
name = "toy"
description = "Words renamed and reversed."

[prepare.data]
source = "train.src"
target = "train.tgt"
valid_source = "valid.src"
valid_target = "valid.tgt"
test_source = "test.src"
test_target = "test.tgt"
vocab_size = 60

[defaults.train]
max_updates = 8
warmup = 4
learning_rate = 1e-3
validate_every = 4
save_every = 2
batch_tokens = 256
tensorboard = false
precision = "float32"

[train.teacher]
data = "data"
model = "transformer"
average_count = 2
set = { dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2, dropout = 0.1 }

[distill.distilled]
teacher = "teacher"
data = "data"
beam = 2
n_best = 2
select = "chrf"
shard_lines = 50
max_ratio = 1.0
workers = 1

[distill.fast]
teacher = "teacher"
data = "data"
engine = "ctranslate2"
beam = 2
shard_lines = 100
max_ratio = 1.0

[train.sru]
data = "distilled"
model = "sru"
set = { dim = 16, embedding_dim = 16 }

[train.nat]
data = "fast"
model = "nat"
set = { dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2 }

[defaults.evaluate]
beam = 2
max_ratio = 1.0
speed_lines = 2
metrics = "bleu,chrf"

[evaluate.teacher-test]
model = "teacher"
data = "data"

[evaluate.sru-test]
model = "sru"
data = "data"

[evaluate.nat-test]
model = "nat"
data = "data"
split = "valid"

[report]
title = "Toy"
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with text and `toy.toml`."""
    write_text(tmp_path, pairs=160)
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path


Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def seqdistill(toy: Path) -> Command:
    """Starts the command line as a user would, in the toy folder."""

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "seqdistill", *words],
            cwd=toy,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
