"""Is training an SRU at least as fast per token as training torch.nn.GRU of the same width? Writes bench-recurrent.

    python -m benchmarks.recurrent [--repeats N] [--threads N]

Forward and backward pass in fp32, 2,048 tokens a batch: one layer of each at the paper's widths, a padded bidirectional
layer, and the whole 2-layer student with 8,000 words. The two run in turn, and the ratio is the median over turns of
GRU time / SRU time, so that what else the machine does hits both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from evidence.rounds import medians, ratios, rounds
from evidence.script import arguments, execute, record
from seqdistill.data.batches import Batch
from seqdistill.models.autoregressive.configs import RNNConfig
from seqdistill.models.autoregressive.rnn import RNN
from seqdistill.nn.recurrent import GRU, SRU
from seqdistill.training.memory import keep_freed_memory
from seqdistill.vocabulary.sentencepiece import EOS, PAD

TIME, SENTENCES, VOCAB = 16, 128, 8000
Update = Callable[[], None]


def layer_update(layer: nn.Module, width: int) -> Update:
    """Forward and backward of one layer on random inputs, gradients of the inputs included."""
    inputs = torch.randn(TIME, SENTENCES, width, requires_grad=True)
    gradient = torch.randn(TIME, SENTENCES, width)

    def update() -> None:
        layer.zero_grad()
        inputs.grad = None
        hidden, _ = layer(inputs)
        hidden.backward(gradient)

    return update


def padded_update(layer: nn.Module, width: int) -> Update:
    """The same for a layer that reads sentences of 11 to 16 tokens in both directions."""
    inputs = torch.randn(TIME, SENTENCES, width, requires_grad=True)
    gradient = torch.randn(TIME, SENTENCES, width)
    padding = torch.arange(TIME)[:, None] >= lengths()

    def update() -> None:
        layer.zero_grad()
        inputs.grad = None
        hidden, _ = layer(inputs, None, padding)
        hidden.backward(gradient)

    return update


def model_update(model: RNN) -> Update:
    """Loss and its gradients for a whole encoder-decoder, on random sentences of 11 to 16 tokens."""
    mask = torch.arange(TIME) < lengths()[:, None]
    words = torch.randint(EOS + 2, VOCAB, (SENTENCES, TIME)).masked_fill(~mask, PAD)
    batch = Batch(words, words, torch.arange(SENTENCES), int(mask.sum()))

    def update() -> None:
        model.zero_grad()
        loss = model.loss(batch)
        (loss.total / loss.count).backward()

    return update


def lengths() -> Tensor:
    """Sentence lengths of a batch, 11 to 16; the longest is there."""
    return TIME - torch.arange(SENTENCES) % 6


def compare(system: str, width: int, sru: Update, gru: Update, repeats: int) -> dict[str, str | int | float]:
    """Times both in turn.

    Returns:
        a row with the median seconds of each as tokens/s, and the median and quartiles of the ratio of each turn.
    """
    turns = list(rounds({"sru": sru, "gru": gru}, repeats, warmup=2))
    low, middle, high = statistics.quantiles(ratios(turns, "gru", "sru"), n=4)
    seconds = medians(turns)
    return {
        "system": system,
        "width": width,
        "sru_tokens_per_second": round(TIME * SENTENCES / seconds["sru"]),
        "gru_tokens_per_second": round(TIME * SENTENCES / seconds["gru"]),
        "sru_over_gru": round(middle, 3),
        "lower_quartile": round(low, 3),
        "upper_quartile": round(high, 3),
        "turns": repeats,
        "threads": torch.get_num_threads(),
    }


def comparisons(repeats: int) -> list[dict[str, str | int | float]]:
    """All comparisons, one row each."""
    rows = []
    for width in (256, 512, 1024):
        turns = repeats if width < 1024 else max(repeats // 3, 3)
        sru, gru = layer_update(SRU(width, width), width), layer_update(nn.GRU(width, width), width)
        rows.append(compare("one layer", width, sru, gru, turns))
    sru, gru = (padded_update(cell(512, 512, bidirectional=True), 512) for cell in (SRU, GRU))
    rows.append(compare("one layer, bidirectional, padded", 512, sru, gru, repeats))
    sru, gru = (model_update(RNN(RNNConfig(VOCAB, VOCAB, cell=cell, tied=True))) for cell in ("sru", "gru"))
    rows.append(compare("2-layer encoder-decoder, 8,000 words", 512, sru, gru, max(repeats // 3, 3)))
    return rows


def main() -> None:
    given = arguments(__doc__, repeats=21, threads=2).parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    keep_freed_memory()
    rows = comparisons(given.repeats)
    for row in rows:
        print(row)
    figures = {"sru_over_gru": min(float(row["sru_over_gru"]) for row in rows if row["system"] == "one layer")}
    figures |= {"model_sru_over_gru": float(rows[-1]["sru_over_gru"])}
    claim = (
        "SRU training is at least as fast per token as torch.nn.GRU of the same width (sru_over_gru: the least of the "
        "widths 256, 512, 1024; fp32, forward and backward, 2,048 tokens a batch)"
    )
    record("bench-recurrent", given, claim=claim, figures=figures, rows=rows)


if __name__ == "__main__":
    execute(main)
