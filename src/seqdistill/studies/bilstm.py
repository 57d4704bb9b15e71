"""The study's student: a small bidirectional LSTM that predicts every position independently, and its training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seqdistill.nn.losses import Loss
from seqdistill.training.optim import adam, learning_rate


class BiLSTM(nn.Module):
    """One softmax per position over one bidirectional LSTM: no output sees another (Zhou et al. 2020, appendix D).

    Args:
        symbols, states: sizes of the source's and the target's vocabulary.
        embedding: width of the symbols' embeddings.
        hidden: width of the LSTM in each direction.
        generator: draws the weights, uniform on +-1/sqrt(hidden).
    """

    def __init__(self, *, symbols: int, states: int, embedding: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.lstm = nn.LSTM(embedding, hidden, bidirectional=True)
        self.output = nn.Linear(2 * hidden, states)
        for weights in self.parameters():
            nn.init.uniform_(weights, -(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, source: Int64[Tensor, "sequences time"]) -> Float[Tensor, "sequences time states"]:
        """Logits of the state at every position."""
        hidden, _ = self.lstm(self.embedding(source.T))  # time sequences 2*hidden
        return self.output(hidden).transpose(0, 1)

    def loss(self, source: Int64[Tensor, "sequences time"], target: Int64[Tensor, "sequences time"]) -> Loss:
        """Negative log-likelihood in nats, summed over positions."""
        total = cross_entropy(self(source).flatten(0, 1), target.flatten(), reduction="sum")
        return Loss(total, target.numel())

    @torch.no_grad()
    def hypotheses(self, source: Int64[Tensor, "sequences time"]) -> Int64[Tensor, "sequences time"]:
        """The most probable state at every position."""
        return self(source).argmax(-1)


def train(
    student: BiLSTM,
    source: Int64[Tensor, "sequences time"],
    target: Int64[Tensor, "sequences time"],
    *,
    updates: int,
    batch: int,
    peak: float,
    generator: torch.Generator,
) -> None:
    """Adam for a number of updates, its learning rate falling linearly from `peak` towards 0.

    Args:
        batch: sequences of an update; every sequence is seen once before any is seen again.
        generator: draws the order of the sequences.
    """
    optimizer = adam(student.parameters(), betas=(0.9, 0.999), weight_decay=0.0)
    # The schedule ends one update after the last, so that no update has a rate of 0.
    order = _shuffled(len(source), generator)
    for update in range(1, updates + 1):
        chosen = torch.tensor([next(order) for _ in range(batch)])
        loss = student.loss(source[chosen], target[chosen])
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.param_groups[0]["lr"] = learning_rate(
            update, peak=peak, warmup=0, schedule="linear", max_updates=updates + 1
        )
        optimizer.step()


def _shuffled(count: int, generator: torch.Generator) -> Iterator[int]:
    """The numbers below `count` in random order, then again in another, without end."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()
