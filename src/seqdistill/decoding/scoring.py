"""How probable an autoregressive model finds given outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from seqdistill.data.batches import Pair, ordered_batches
from seqdistill.models.interface import AutoregressiveModel, Model


@torch.inference_mode()
def mean_log_probs(
    model: Model, pairs: Sequence[Pair], *, device: str | torch.device = "cpu", max_tokens: int = 2048
) -> list[float]:
    """The model's log-probability of each target given its source, divided by its tokens, EOS included in both.

    Args:
        model: an AutoregressiveModel in evaluation mode.
        pairs: token ids without EOS.
        max_tokens: of a batch, padding included, on its longer side.

    Returns:
        Nats a token, over the whole vocabulary.
    """
    writer, scores = cast(AutoregressiveModel, model), [0.0] * len(pairs)
    for batch in ordered_batches(
        pairs, max_tokens=max_tokens, source_ids=model.source_ids, target_ids=model.target_ids
    ):
        source, target = batch.source.to(device), batch.target.to(device)
        # (batch, target, vocab) -> (batch, target)
        log_probs = writer.forward(source, target).log_softmax(-1).gather(2, target[..., None]).squeeze(2)
        mask = target != model.target_ids.pad
        means = log_probs.masked_fill(~mask, 0).double().sum(1) / mask.sum(1)
        for row, mean in zip(batch.index.tolist(), means.tolist(), strict=True):
            scores[row] = mean
    return scores
