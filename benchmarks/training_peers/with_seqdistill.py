"""Our loop, as `seqdistill train` runs it: with_seqdistill.py FOLDER SECONDS WARMUP THREADS WIDTH PRECISION.

WIDTH takes the place of that of the sizes: the feed-forward layers are four times as wide, a head has 64 dimensions.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.training_peers.meter import Finished, Meter
from seqdistill.data.batches import Batch, Batches
from seqdistill.data.store import Store
from seqdistill.files import read_json
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.nn.losses import Loss
from seqdistill.options import TrainingOptions
from seqdistill.training.loop import train
from seqdistill.training.precision import FILE


class Measured(Batches):
    """Reports each batch's tokens; nothing else is changed."""

    meter: Meter

    def __next__(self) -> Batch:
        batch = super().__next__()
        self.meter.tick(batch.num_labels)
        return batch


def main(folder: Path, seconds: float, warmup: int, threads: int, width: int, precision: str) -> None:
    sizes = json.loads((folder / "sizes.json").read_text())
    torch.manual_seed(1)
    model = Transformer(
        TransformerConfig(
            source_vocab=sizes["vocab"],
            target_vocab=sizes["vocab"],
            dim=width,
            ffn_dim=4 * width,
            encoder_layers=sizes["layers"],
            decoder_layers=sizes["layers"],
            heads=width // 64,
            dropout=sizes["dropout"],
            tied=True,
        )
    )
    batches = Measured(Store.open(folder / "train.arrow"), max_tokens=sizes["batch_tokens"], seed=1)
    batches.meter = Meter(warmup=warmup, seconds=seconds)

    def objective(batch: Batch) -> Loss:
        return model.loss(batch, label_smoothing=sizes["label_smoothing"])

    with tempfile.TemporaryDirectory() as out:
        with contextlib.suppress(Finished):
            train(
                model,
                objective,
                batches,
                options=TrainingOptions.read(
                    {
                        "max_updates": 10**6,
                        "validate_every": 10**6,
                        "metric": "loss",
                        "threads": threads,
                        "precision": precision,
                        "tensorboard": False,
                    },
                    where="benchmark",
                ),
                validate=dict,
                out=Path(out),
            )
        settled = Path(out) / "checkpoints" / FILE
        precision = read_json(settled)["precision"] if settled.exists() else precision
        print(json.dumps({"precision": precision}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
