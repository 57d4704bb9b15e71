"""Trains, or decodes with, the demo's teacher for as long as it is told: -m benchmarks.beside_work TASK FOLDER THREADS.

Each line of standard input is a number of seconds; after them the target tokens a second are printed, and the next line
is waited for. So processes whose threads wait differently take turns, and none is measured while it starts.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from seqdistill.data.batches import Batch, Batches, collate_sources
from seqdistill.data.store import Store
from seqdistill.decoding.corpus import length_batches
from seqdistill.decoding.decode import decode
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.nn.losses import Loss
from seqdistill.options import DecodingOptions, TrainingOptions
from seqdistill.training.loop import train

VOCAB, BATCH_TOKENS = 2000, 1024
SIZES = {"dim": 128, "ffn_dim": 256, "encoder_layers": 2, "decoder_layers": 2, "heads": 4, "dropout": 0.1}
"""Of recipes/demo.toml."""


class Turns:
    """Counts tokens during this process's turns."""

    def __init__(self) -> None:
        self.tokens, self.seconds = 0, 0.0
        self.began = time.perf_counter()

    def done(self, tokens: int) -> None:
        """Adds tokens that were just done; ends the turn when its time is over, and the process after the last one."""
        self.tokens += tokens
        elapsed = time.perf_counter() - self.began
        if elapsed < self.seconds:
            return
        print(self.tokens / elapsed, flush=True)
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        self.tokens, self.seconds, self.began = 0, float(line), time.perf_counter()


def train_in_turns(model: Transformer, store: Store, threads: int, turns: Turns) -> None:
    """The training loop as it is; an update is done when the next one asks for its loss."""
    waiting = 0

    def objective(batch: Batch) -> Loss:
        nonlocal waiting
        turns.done(waiting)
        waiting = batch.num_labels
        return model.loss(batch)

    options = TrainingOptions(
        max_updates=10**6, validate_every=10**6, metric="loss", threads=threads, precision="float32"
    )
    batches = Batches(store, max_tokens=BATCH_TOKENS, seed=1)
    with tempfile.TemporaryDirectory() as out:
        train(model, objective, batches, options=options, validate=dict, out=Path(out))


def decode_in_turns(model: Transformer, store: Store, threads: int, turns: Turns) -> None:
    """Beam search of width 5 in our own engine's batches; the model is untrained, so outputs are as long as allowed."""
    torch.set_num_threads(threads)
    model.eval()
    sources = [store.source_ids(line).tolist() for line in range(min(len(store), 2000))]
    options = DecodingOptions(beam=5)
    while True:
        for rows in length_batches(sources, BATCH_TOKENS // options.beam):
            batch = collate_sources([sources[row] for row in rows])
            turns.done(sum(len(found[0].tokens) for found in decode(model, batch, options)))


def main(task: str, folder: Path, threads: int) -> None:
    torch.manual_seed(1)
    model = Transformer(TransformerConfig(source_vocab=VOCAB, target_vocab=VOCAB, tied=True, **SIZES))  # type: ignore[arg-type]
    store = Store.open(folder / "train.arrow")
    {"training": train_in_turns, "decoding": decode_in_turns}[task](model, store, threads, Turns())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
