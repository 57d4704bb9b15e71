"""What a model is worth while it trains: loss per token of the validation data, and a score of its greedy output."""

from __future__ import annotations

import math

import torch
from torch import nn

from seqdistill.data.batches import ordered_batches
from seqdistill.data.store import Store
from seqdistill.decoding.decode import decode
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.metrics.scores import MetricOptions, create_metric
from seqdistill.text.tokenizer import Tokenizers
from seqdistill.training.distributed import ALONE, Ranks


def validation_scores(
    model: nn.Module,
    store: Store,
    tokenizers: Tokenizers,
    *,
    metric: str,
    max_tokens: int,
    language: str = "",
    seed: int = 1,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Scores the model on a store; of several ranks each takes a part, and all return the same.

    `loss` is the mean negative log-likelihood of a target token in nats, EOS included, without label smoothing (for a
    parallel model: its own loss per target token); `perplexity` is its exponential. Unless the metric is loss, the
    score of the greedy output is added under the metric's name, case ignored if the tokenizer ignores it.

    Args:
        metric: loss, bleu or rouge1.
        max_tokens: tokens of a batch, padding included.
        language: of the targets, for what in the metric depends on it.
        seed: of what a parallel model's loss draws.

    Raises:
        UserError: an unknown metric.
    """
    options = MetricOptions(lowercase=tokenizers.target.lowercase, language=language)
    measure = None if metric == "loss" else create_metric(metric, options)
    device = next(model.parameters()).device
    total, count = 0.0, 0
    outputs: dict[int, str] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for number, batch in enumerate(ordered_batches(store, max_tokens=max_tokens)):
            if number % ranks.size != ranks.rank:
                continue
            torch.manual_seed(seed + number)
            batch = batch._replace(source=batch.source.to(device), target=batch.target.to(device))
            loss = model.loss(batch)  # type: ignore[operator]
            total, count = total + float(loss.total), count + loss.count
            if measure:
                hypotheses = [found[0].tokens for found in decode(model, batch.source, DecodingOptions())]
                texts = tokenizers.target.decode_batch(hypotheses)
                outputs |= zip(batch.index.tolist(), texts, strict=True)
    total, count = ranks.all_sum(total, count)
    scores = {"loss": total / count, "perplexity": math.exp(min(total / count, 700.0))}
    if measure:
        gathered = {line: text for part in ranks.gather(outputs) for line, text in part.items()}
        lines = [gathered[line] for line in range(len(store))]
        scores[metric] = measure.corpus(lines, list(store.targets())).value
    return scores
