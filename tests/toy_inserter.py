"""A model that inserts words without having learned anything: it copies its source, if it is pressed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.traits import Traits
from seqdistill.nn.losses import Loss
from seqdistill.vocabulary.ids import OURS, SpecialIds
from seqdistill.vocabulary.sentencepiece import EOS, PAD

BEST = 2.0
"""The penalty at which copies are complete."""


@dataclass(frozen=True)
class ToyConfig:
    source_vocab: int
    target_vocab: int
    bias: float = 0.0


class ToyMemory(NamedTuple):
    words: Tensor

    def select(self, rows: Tensor) -> ToyMemory:
        return ToyMemory(self.words[rows])


class ToyInserter(Model):
    """Each iteration inserts up to two of the words that are missing at the end, in two passes.

    Without a penalty the first half of the source is all it wants to insert, at a penalty of BEST all of it, and beyond
    that twice the last word. Log-probabilities are -0.1.
    """

    traits, iterations, longest_target = Traits(non_autoregressive=True, iterates=True, inserts=True), 10, None

    def __init__(self, config: ToyConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.weight = nn.Parameter(torch.tensor([config.bias]))

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        return Loss(self.weight.sum() * batch.num_labels, batch.num_labels)

    def encode(self, source: Tensor) -> ToyMemory:
        return ToyMemory(source.masked_fill(source == EOS, PAD))

    def start(self, memory: ToyMemory, *, candidates: int) -> Canvas:
        if candidates != 1:
            raise UserError(f"there is one candidate a sentence, but beam is {candidates}: decode with beam 1")
        rows = len(memory.words)
        tokens = torch.zeros(rows, 0, dtype=torch.int64)
        return Canvas(tokens, tokens.float(), torch.zeros(rows), torch.zeros(rows).long())

    def refine(
        self, canvas: Canvas, memory: ToyMemory, *, step: int, iterations: int, limits: Tensor, penalty: float
    ) -> Canvas:
        rows = []
        for words, tokens, limit in zip(memory.words.tolist(), canvas.tokens.tolist(), limits.tolist(), strict=True):
            words, tokens = ([token for token in row if token != PAD] for row in (words, tokens))
            wanted = words[: round(len(words) * min(1.0, 0.5 + penalty / (2 * BEST)))] + words[-1:] * (penalty > BEST)
            rows.append(wanted[: min(len(tokens) + 2, limit)])
        width = max(map(len, rows))
        tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows], dtype=torch.int64)
        return canvas._replace(tokens=tokens, log_probs=-0.1 * (tokens != PAD), passes=canvas.passes + 2)
