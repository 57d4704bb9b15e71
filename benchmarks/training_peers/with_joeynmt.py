"""Joey NMT 2.3's own TrainManager: with_joeynmt.py FOLDER SECONDS WARMUP THREADS. Needs no shims under torch 2.13."""

import contextlib
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from joeynmt.config import parse_global_args, set_validation_args
from joeynmt.prediction import prepare
from joeynmt.training import TrainManager
from meter import Finished, Meter


class Measured(TrainManager):
    """Reports each update's tokens; nothing else is changed."""

    meter: Meter

    def _train_step(self, batch: Any) -> Any:
        self.meter.tick(int(batch.ntokens))
        return super()._train_step(batch)


def configuration(folder: Path, out: str) -> dict[str, Any]:
    sizes = json.loads((folder / "sizes.json").read_text())
    side = {
        "level": "word",
        "tokenizer_type": "none",
        "max_length": 250,
        "voc_file": str(folder / "vocabulary.txt"),
    }
    stack = {
        "type": "transformer",
        "num_layers": sizes["layers"],
        "num_heads": sizes["heads"],
        "embeddings": {"embedding_dim": sizes["dim"], "scale": True, "dropout": 0.0},
        "hidden_size": sizes["dim"],
        "ff_size": sizes["ffn_dim"],
        "dropout": sizes["dropout"],
        "layer_norm": "pre",
    }
    return {
        "name": "benchmark",
        "joeynmt_version": "2.3.0",
        "model_dir": out,
        "use_cuda": False,
        "random_seed": 1,
        "normalization": "tokens",
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "valid"),
            "dataset_type": "plain",
            "src": {"lang": "src"} | side,
            "trg": {"lang": "trg"} | side,
        },
        "testing": {"beam_size": 1, "eval_metrics": []},
        "training": {
            "optimizer": "adam",
            "adam_betas": [0.9, 0.98],
            "learning_rate": 5e-4,
            "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": 4000,
            "label_smoothing": sizes["label_smoothing"],
            "clip_grad_norm": 1.0,
            "batch_size": sizes["batch_tokens"],
            "batch_type": "token",
            "epochs": 1000,
            "validation_freq": 10**6,
            "logging_freq": 100,
            "early_stopping_metric": "ppl",
            "overwrite": True,
        },
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": stack,
            "decoder": stack,
        },
    }


def main(folder: Path, seconds: float, warmup: int, threads: int) -> None:
    logging.disable(logging.INFO)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as out:
        args = parse_global_args(configuration(folder, out), mode="train")
        model, train_data, dev_data, _ = prepare(args, rank=0, mode="train")
        trainer = Measured(
            rank=0,
            model=model,
            model_dir=args.model_dir,
            device=args.device,
            autocast=args.autocast,
            seed=args.seed,
            train_args=args.train,
            dev_args=set_validation_args(args.test),
        )
        trainer.meter = Meter(warmup=warmup, seconds=seconds)
        print(json.dumps({"parameters": sum(parameter.numel() for parameter in model.parameters())}))
        trainer.train_and_validate(train_data=train_data, valid_data=dev_data)


if __name__ == "__main__":
    with contextlib.suppress(Finished):
        main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
