"""Our loop, as `seqdistill train` runs it: with_seqdistill.py FOLDER SECONDS WARMUP THREADS."""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.training_peers.meter import Finished, Meter
from seqdistill.data.batches import Batch, Batches
from seqdistill.data.store import Store
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.nn.losses import Loss
from seqdistill.training.loop import train
from seqdistill.training.options import TrainingOptions


def main(folder: Path, seconds: float, warmup: int, threads: int) -> None:
    sizes = json.loads((folder / "sizes.json").read_text())
    torch.manual_seed(1)
    model = Transformer(
        TransformerConfig(
            source_vocab=sizes["vocab"],
            target_vocab=sizes["vocab"],
            dim=sizes["dim"],
            ffn_dim=sizes["ffn_dim"],
            encoder_layers=sizes["layers"],
            decoder_layers=sizes["layers"],
            heads=sizes["heads"],
            dropout=sizes["dropout"],
            tied=True,
        )
    )
    meter = Meter(warmup=warmup, seconds=seconds)

    def objective(batch: Batch) -> Loss:
        meter.tick(batch.num_labels)
        return model.loss(batch, label_smoothing=sizes["label_smoothing"])

    with tempfile.TemporaryDirectory() as out:
        train(
            model,
            objective,
            Batches(Store.open(folder / "train.arrow"), max_tokens=sizes["batch_tokens"], seed=1),
            options=TrainingOptions(max_updates=10**6, validate_every=10**6, metric="loss", threads=threads),
            validate=dict,
            out=Path(out),
        )


if __name__ == "__main__":
    with contextlib.suppress(Finished):
        main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
