"""Models that insert words learn to copy and to reverse in seconds, and leave what is finished alone."""

from typing import Any

import pytest
import torch

from seqdistill.data.batches import Batch, collate
from seqdistill.decoding.decode import decode
from seqdistill.models.family import FAMILIES, resolved
from seqdistill.models.interface import Canvas
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import EOS, PAD

VOCAB = 12
SIZES = {"dim": 32, "ffn_dim": 64, "encoder_layers": 1, "decoder_layers": 1, "heads": 1, "dropout": 0.0}
RUNS_TO_FINISH = {"inst": 1, "levt": 2}
"""Decoder runs that find nothing to insert and, where words are deleted, nothing to delete."""


@pytest.mark.parametrize(
    ("name", "task", "updates"),
    [("inst", "copy", 300), ("inst", "reverse", 300), ("levt", "copy", 200), ("levt", "reverse", 300)],
)
def test_learns(name: str, task: str, updates: int) -> None:
    torch.manual_seed(1)
    model_class, config_class = resolved(FAMILIES[name].model), FAMILIES[name].config
    model: Any = model_class(config_class(source_vocab=VOCAB, target_vocab=VOCAB, **SIZES)).train()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (update + 1) / 50, 2 * (1 - update / updates))
        optimizer.zero_grad()
        loss = model.loss(sentences(64, task))
        (loss.total / loss.count).backward()
        optimizer.step()
    unseen = sentences(200, task)
    targets = [tuple(row[: row.index(EOS)]) for row in unseen.target.tolist()]
    hypotheses = decode(model.eval(), unseen.source, DecodingOptions(beam=1))
    right = [group[0].tokens == target for group, target in zip(hypotheses, targets, strict=True)]
    assert sum(right) >= 180
    assert fixed_points(model, unseen, runs=RUNS_TO_FINISH[name]) >= 180


def fixed_points(model: Any, batch: Batch, *, runs: int) -> int:
    """How many targets an iteration leaves as they are, in so many decoder runs."""
    words = batch.target[:, :-1].masked_fill(batch.target[:, :-1] == EOS, PAD)
    rows = len(words)
    canvas = Canvas(words, torch.zeros(words.shape), torch.zeros(rows), torch.zeros(rows).long())
    with torch.no_grad():
        limits = torch.full((rows,), 20)
        memory = model.encode(batch.source)
        after = model.refine(canvas, memory, step=0, iterations=10, limits=limits, penalty=0.0)
    width = max(words.shape[1], after.tokens.shape[1])
    same = [
        [*before, *[PAD] * (width - len(before))] == [*now, *[PAD] * (width - len(now))]
        for before, now in zip(words.tolist(), after.tokens.tolist(), strict=True)
    ]
    return sum(same & (after.passes == runs).numpy())


def sentences(count: int, task: str) -> Batch:
    """Of one to four of seven words, all different: between equal ones, who inserts all at once cannot tell which it
    has written."""
    lengths = torch.randint(1, 5, (count,)).tolist()
    sources = [(torch.randperm(7)[:length] + 5).tolist() for length in lengths]
    return collate([(words, words if task == "copy" else words[::-1]) for words in sources])
