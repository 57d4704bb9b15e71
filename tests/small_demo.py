"""A recipe with the demo's stages, which trains for seconds."""

from __future__ import annotations

from pathlib import Path

from native.compiled import engine_sets

from benchmarks.robust import toy

RECIPE = """
name = "demo"
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
data = "data"
max_updates = 80
warmup = 5
learning_rate = 1e-2
validate_every = 80
batch_tokens = 512
tensorboard = false
precision = "float32"

[train.teacher]
model = "transformer"
set = { dim = 16, ffn_dim = 16, encoder_layers = 1, decoder_layers = 1, heads = 2 }

[train.student]
model = "sru"
set = { dim = 16, embedding_dim = 16 }

[export.exported]
model = "student"
data = "data"
verify_lines = 2

[bench.speed]
models = ["teacher", "exported"]
data = "data"
beam = 1
max_length = 8
speed_lines = 3
rounds = 1
"""


def write_demo(folder: Path) -> None:
    """Writes demo.toml and its text; skips the test where there is no engine."""
    engine_sets()
    toy.write_text(folder)
    for path in folder.glob("*.tgt"):  # what is quickly learned, in part
        words = [line.split()[0] for line in path.read_text().splitlines()]
        path.write_text("".join(f"so they say it is {word}\n" for word in words))
    (folder / "demo.toml").write_text(RECIPE)
