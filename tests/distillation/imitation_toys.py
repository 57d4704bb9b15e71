"""Small models over ten words, and batches of made-up sentences, for word-level distillation and imitation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqdistill.data.batches import Batches
from seqdistill.models.autoregressive.configs import RNNConfig, TransformerConfig
from seqdistill.models.autoregressive.rnn import RNN
from seqdistill.models.autoregressive.transformer import Transformer

WORDS = 15


class ListedPairs:
    """Looks like a token store."""

    path = Path("listed")
    fingerprint = "listed"

    def __init__(self, count: int = 24, seed: int = 5) -> None:
        random = np.random.default_rng(seed)
        lengths = random.integers(1, 7, (count, 2))
        self._sides = [[random.integers(5, WORDS, n).astype(np.uint16) for n in column] for column in lengths.T]

    def __len__(self) -> int:
        return len(self._sides[0])

    def source_ids(self, i: int) -> np.ndarray:
        return self._sides[0][i]

    def target_ids(self, i: int) -> np.ndarray:
        return self._sides[1][i]

    @property
    def source_lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self._sides[0]], np.int32)

    @property
    def target_lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self._sides[1]], np.int32)


def stream(*, rank: int = 0, ranks: int = 1, max_tokens: int = 40) -> Batches:
    return Batches(ListedPairs(), max_tokens=max_tokens, seed=3, rank=rank, ranks=ranks)


def transformer(seed: int, *, sharp: float = 3.0, dropout: float = 0.1) -> Any:
    """Its output layer is scaled up by `sharp`, so that a random model is sure of itself."""
    torch.manual_seed(seed)
    sizes = {"dim": 8, "ffn_dim": 8, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
    model = Transformer(TransformerConfig(WORDS, WORDS, dropout=dropout, **sizes))
    with torch.no_grad():
        model.target_embedding.weight *= sharp
    return model


def sru(seed: int, *, dropout: float = 0.1) -> Any:
    torch.manual_seed(seed)
    return RNN(RNNConfig(WORDS, WORDS, dim=8, embedding_dim=6, layers=1, dropout=dropout))
