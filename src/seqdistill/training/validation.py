"""Validation during training: loss per token of the validation data, and a score of the greedy outputs."""

from __future__ import annotations

import math

import torch

from seqdistill.data.batches import Batch, ordered_batches
from seqdistill.data.store import Store
from seqdistill.data.targets import lines_of
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.metrics.metric import reference_line
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.tokenizers import completed
from seqdistill.models.interface import Model
from seqdistill.options import DecodingOptions, MetricOptions
from seqdistill.text.languages import Languages
from seqdistill.training.distributed import ALONE, Ranks
from seqdistill.vocabulary.vocabularies import Vocabularies


def validation_scores(
    model: Model,
    store: Store,
    tokenizers: Vocabularies,
    *,
    metric: str,
    max_tokens: int,
    num_targets: int = 1,
    languages: Languages | None = None,
    seed: int = 1,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Scores the model on a store; of several ranks each takes a part, and all return the same.

    `loss` is the mean negative log-likelihood of a target token in nats, EOS included, without label smoothing (for a
    non-autoregressive model: its own loss per target token); `perplexity` is its exponential. Targets too long for the
    model's loss are left out of both, and counted as `left_out` if there are any. Unless the metric is loss, the score
    of the greedy output is added under the metric's name, case ignored if the tokenizer ignores it.

    Args:
        metric: loss, bleu or rouge1.
        max_tokens: tokens of a batch, padding included.
        num_targets: the most targets of a line of the store (`DataDirectory.num_targets`). Above 1, the loss is over
            all of them, and each line is decoded once and scored against all of its targets.
        languages: of the text, which decide what its words are.
        seed: of what a non-autoregressive model's loss draws.

    Raises:
        UserError: an unknown metric; no target short enough for the model's loss.
    """
    options = completed(MetricOptions(), languages or Languages(), lowercase=tokenizers.target.lowercase)
    measure = None if metric == "loss" else create_metric(metric, options, num_references=num_targets)
    lines = [] if measure is None else list(lines_of(store, num_targets=num_targets))
    first = {line.pairs.start for line in lines}
    device = next(model.parameters()).device
    longest = getattr(model, "longest_target", None)
    batches = ordered_batches(store, max_tokens=max_tokens, source_ids=model.source_ids, target_ids=model.target_ids)
    total, count, left_out = 0.0, 0, 0
    outputs: dict[int, str] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for number, batch in enumerate(batches):
            if number % ranks.size != ranks.rank:
                continue
            # By the number of the batch: any number of ranks draws the same.
            torch.manual_seed(seed + number)
            batch = batch._replace(source=batch.source.to(device), target=batch.target.to(device))
            learned = batch if longest is None else _up_to(batch, longest, padding=model.target_ids.pad)
            left_out += len(batch.index) - len(learned.index)
            if len(learned.index):
                loss = model.loss(learned)  # type: ignore[operator]
                total, count = total + float(loss.total), count + loss.count
            chosen = [row for row, pair in enumerate(batch.index.tolist()) if pair in first]
            if chosen:
                hypotheses = [found[0].tokens for found in decode(model, batch.source[chosen], DecodingOptions(beam=1))]
                texts = tokenizers.target.decode_batch(hypotheses)
                outputs |= zip(batch.index[chosen].tolist(), texts, strict=True)
    total, count, left_out = ranks.all_sum(total, count, left_out)
    if not count:
        raise UserError(
            f"{store.path}: all {len(store)} targets are longer than the {longest} tokens that this model has a loss "
            "for; give shorter ones"
        )
    # e^709 is about the largest float.
    scores = {"loss": total / count, "perplexity": math.exp(min(total / count, 700.0))}
    scores |= {"left_out": left_out} if left_out else {}
    if measure:
        gathered = {pair: text for part in ranks.gather(outputs) for pair, text in part.items()}
        written = [gathered[line.pairs.start] for line in lines]
        references = [reference_line(line.targets, num_references=num_targets) for line in lines]
        scores[metric] = measure.corpus(written, references).value
    return scores


def _up_to(batch: Batch, longest: int, *, padding: int) -> Batch:
    """Only the pairs whose targets have at most that many words."""
    lengths = (batch.target != padding).sum(1)
    # `longest` counts words, `lengths` EOS too.
    rows = lengths <= longest + 1
    return batch._replace(
        source=batch.source[rows],
        target=batch.target[rows],
        index=batch.index[rows.to(batch.index.device)],
        num_labels=int(lengths[rows].sum()),
    )
