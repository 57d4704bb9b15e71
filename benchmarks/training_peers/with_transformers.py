"""transformers' Seq2SeqTrainer on its Marian model.

    with_transformers.py FOLDER SECONDS WARMUP THREADS SAMPLING PRECISION

Batches hold as many sentences as have BATCH_TOKENS target tokens on average. SAMPLING is the trainer's own choice of
batches: random (its default) or group_by_length (its best). PRECISION is float32 or bfloat16.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from meter import Finished, Meter
from transformers import (
    DataCollatorForSeq2Seq,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

PAD, BOS, EOS = 0, 2, 3


class Measured(Seq2SeqTrainer):
    """Reports each update's tokens; nothing else is changed."""

    meter: Meter

    def training_step(self, model: Any, inputs: Any, *rest: Any, **others: Any) -> Any:
        self.meter.tick(int((inputs["labels"] != -100).sum()))
        return super().training_step(model, inputs, *rest, **others)


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Only pads: the text is ids already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = (folder / "vocabulary.txt").read_text().split()
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", "<mask>", *words])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def pairs(folder: Path) -> Dataset:
    def ids(side: str) -> list[list[int]]:
        lines = (folder / f"train.{side}").read_text().splitlines()
        return [[int(word[1:]) for word in line.split()] + [EOS] for line in lines]

    source, target = ids("src"), ids("trg")
    return Dataset.from_dict({"input_ids": source, "labels": target, "length": [len(row) for row in target]})


def main(folder: Path, seconds: float, warmup: int, threads: int, sampling: str, precision: str) -> None:
    torch.set_num_threads(threads)
    sizes = json.loads((folder / "sizes.json").read_text())
    data = pairs(folder)
    torch.manual_seed(1)
    stacks = {
        f"{side}_{name}": sizes[key]
        for side in ("encoder", "decoder")
        for name, key in (("layers", "layers"), ("ffn_dim", "ffn_dim"), ("attention_heads", "heads"))
    }
    model = MarianMTModel(
        MarianConfig(
            vocab_size=sizes["vocab"],
            d_model=sizes["dim"],
            dropout=sizes["dropout"],
            attention_dropout=0.0,
            activation_dropout=sizes["dropout"],
            activation_function="relu",
            max_position_embeddings=256,
            scale_embedding=True,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            forced_eos_token_id=EOS,
            decoder_start_token_id=BOS,
            **stacks,
        )
    )
    print(json.dumps({"parameters": sum(parameter.numel() for parameter in model.parameters())}))
    with tempfile.TemporaryDirectory() as out:
        arguments = Seq2SeqTrainingArguments(
            output_dir=out,
            use_cpu=True,
            bf16=precision == "bfloat16",
            per_device_train_batch_size=max(1, round(sizes["batch_tokens"] / (sum(data["length"]) / len(data)))),
            train_sampling_strategy=sampling,
            length_column_name="length",
            learning_rate=5e-4,
            warmup_steps=4000,
            lr_scheduler_type="inverse_sqrt",
            adam_beta2=0.98,
            max_grad_norm=1.0,
            label_smoothing_factor=sizes["label_smoothing"],
            max_steps=10**6,
            logging_steps=100,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=1,
        )
        collator = DataCollatorForSeq2Seq(tokenizer(folder), model=model)
        trainer = Measured(model=model, args=arguments, train_dataset=data, data_collator=collator)
        trainer.meter = Meter(warmup=warmup, seconds=seconds)
        trainer.train()


if __name__ == "__main__":
    with contextlib.suppress(Finished):
        main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
