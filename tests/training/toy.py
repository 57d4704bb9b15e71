"""A model, a task and a stream small enough that training takes milliseconds and can be redone by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from seqdistill.data.batches import Batch, collate
from seqdistill.nn.losses import Loss

WORDS = 9


class Bigram(nn.Module):
    """Predicts each target token from the source token at its place: one table of logits."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(WORDS, WORDS))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.dropout = nn.Dropout(dropout)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        logits = self.dropout(self.table)[batch.source]
        total = F.cross_entropy(
            logits.flatten(0, 1),
            batch.target.flatten(),
            ignore_index=0,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return Loss(total, batch.num_labels)


def random_batches(count: int, *, seed: int = 0) -> list[Batch]:
    """Batches of one to four sentences of one to five words, every target a copy of its source."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for number in range(count):
        rows, length = (int(torch.randint(1, top, (), generator=generator)) for top in (5, 6))
        words = torch.randint(5, WORDS, (rows, length), generator=generator).tolist()
        batches.append(collate([(row, row) for row in words], range(number, number + rows)))
    return batches


class Stream:
    """The same batches again and again; `name` is its identity."""

    def __init__(self, batches: list[Batch], name: str = "toy", *, rank: int = 0, ranks: int = 1) -> None:
        self.batches, self.name, self.rank, self.ranks, self.position = batches, name, rank, ranks, 0

    def __next__(self) -> Batch:
        batch = self.batches[(self.position + self.rank) % len(self.batches)]
        self.position += self.ranks
        return batch

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "position": self.position}

    def restore(self, state: Mapping[str, Any]) -> None:
        assert state["name"] == self.name
        self.position = state["position"]

    def log_metrics(self) -> dict[str, float]:
        return {}


class Scores:
    """A validation that hands out a list of scores, one a call; the last one for ever."""

    def __init__(self, metric: str, values: list[float]) -> None:
        self.metric, self.values = metric, iter(values)
        self.value = 0.0

    def __call__(self) -> dict[str, float]:
        self.value = next(self.values, self.value)
        return {self.metric: self.value}


def loss_of(model: nn.Module, batches: list[Batch]) -> Callable[[], dict[str, float]]:
    """A validation: the loss per label over these batches."""

    def validate() -> dict[str, float]:
        losses = [model.loss(batch) for batch in batches]  # type: ignore[operator]
        return {"loss": float(sum(loss.total for loss in losses)) / sum(loss.count for loss in losses)}

    return validate
