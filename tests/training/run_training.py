"""A process that trains a small model: `run_training.py DATA OUT OPTIONS` (JSON). Started by tests and torchrun.

`model` names it, `dropout` is its dropout; `die_at` kills the process, as kill -9 does, when the update is done, or in
the middle of writing its checkpoint ("writing"), or before older ones are deleted ("pruning").
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from seqdistill.data.batches import Batches
from seqdistill.data.store import Store
from seqdistill.models.saved import create_model, stored_weights
from seqdistill.options import TrainingOptions
from seqdistill.progress import Silent
from seqdistill.training import checkpoint
from seqdistill.training.distributed import joined
from seqdistill.training.loop import train
from seqdistill.training.optim import choose_device
from seqdistill.training.validation import validation_scores
from seqdistill.verbs.rounding import rounded_updates
from seqdistill.vocabulary.vocabularies import Vocabularies


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Silent):
    """Ends the process after so many updates of this run."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        self.updates -= amount
        if self.updates == 0:
            die()


def small(name: str, tokenizers: Vocabularies, *, dropout: float) -> nn.Module:
    sizes = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    if name == "flowseq":
        sizes |= {"posterior_layers": 1, "flow_ffn_dim": 16, "autoencoder_updates": 2, "kl_updates": 3}
        return create_model(name, tokenizers, dropout=dropout, flow_steps="1,1", **sizes)
    return create_model(name, tokenizers, dropout=dropout, **sizes)


def main(data: Path, out: Path, given: dict[str, Any]) -> None:
    name, dropout = given.pop("model", "transformer-tiny"), given.pop("dropout", 0.1)
    die_at = given.pop("die_at", None)
    if die_at == "writing":
        checkpoint.write_sealed = die
    if die_at == "pruning":
        checkpoint.prune = die
    torch.set_num_threads(1)
    tokenizers = Vocabularies.load(data / "tokenizer")
    valid = Store.open(data / "valid.arrow")
    torch.manual_seed(7)
    model: Any = small(name, tokenizers, dropout=dropout)
    options = TrainingOptions(tensorboard=False, **given)
    rounded = rounded_updates(options, model)
    with joined(choose_device("cpu")) as ranks:
        train(
            model,
            lambda batch: model.loss(batch, label_smoothing=0.1),
            Batches(Store.open(data / "train.arrow"), max_tokens=128, seed=3, rank=ranks.rank, ranks=ranks.size),
            options=options,
            validate=lambda: validation_scores(model, valid, tokenizers, metric="bleu", max_tokens=128, ranks=ranks),
            out=out,
            rounded=rounded,
            progress=Deadly(die_at) if isinstance(die_at, int) else Silent(),
            ranks=ranks,
        )
        if ranks.first:
            save_file(stored_weights(model), out / "final.safetensors")
    running = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in running if "gloo" in name], (
        f"threads that could abort the end of the process: {running}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
