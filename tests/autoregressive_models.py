"""What every autoregressive model must do, for the tests of each: paths that agree, padding, learning to copy."""

from __future__ import annotations

from typing import Any

import torch

from seqdistill.data.batches import Batch, collate, collate_sources
from seqdistill.vocabulary.sentencepiece import BOS


@torch.no_grad()
def check_steps(model: Any, source: torch.Tensor, vocab: int) -> None:
    """Step by step and all positions at once; rows in groups of three, longer than caches and tables begin with."""
    rows = 3 * len(source)
    context = torch.cat([torch.full((rows, 1), BOS), torch.randint(5, vocab, (rows, 39))], 1)
    expected = model(source.repeat_interleave(3, 0), context.roll(-1, 1)).log_softmax(-1)
    state = model.encode(source).repeat(3)
    for place in range(40):
        log_probs, state = model.step(context[:, place], state)
        torch.testing.assert_close(log_probs, expected[:, place], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def check_selection(model: Any, source: torch.Tensor, vocab: int) -> None:
    """Of three sentences: rows copied, dropped and exchanged inside their groups, and a sentence that leaves."""
    context = torch.cat([torch.full((6, 1), BOS), torch.randint(5, vocab, (6, 3))], 1)
    state = model.encode(source).repeat(2)
    for place in range(3):
        _, state = model.step(context[:, place], state)
    rows = torch.tensor([5, 5, 1, 0])
    found, _ = model.step(context[rows, 3], state.select(rows))
    expected = model(source[rows // 2], context[rows].roll(-1, 1)).log_softmax(-1)[:, 3]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def check_padding(model: Any, tight: Batch, loose: Batch) -> None:
    """More padding changes neither loss nor gradient."""
    assert loose.source.shape[1] > tight.source.shape[1]
    found = [torch.autograd.grad(model.loss(batch).total, list(model.parameters())) for batch in (tight, loose)]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def check_autocast(model: Any, batch: Batch) -> None:
    """In bfloat16 the loss stays near that in float32, and gradients are in float32."""
    totals = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = model.loss(batch, label_smoothing=0.1)
        gradients = torch.autograd.grad(loss.total, list(model.parameters()))
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        totals.append(loss.total)
    torch.testing.assert_close(totals[1], totals[0], rtol=0.02, atol=0.0)


def share_copied(model: Any, vocab: int, *, updates: int) -> float:
    """Trains a model to copy five words, then lets it write: the share of words it copies from unseen sequences."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-2)
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, update / 20) * (1 - update / updates)
        words = torch.randint(5, vocab, (64, 5)).tolist()
        loss = model.loss(collate([(each, each) for each in words]))
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    words, tokens, written = torch.randint(5, vocab, (50, 5)), torch.full((50,), BOS), []
    with torch.no_grad():
        state = model.eval().encode(collate_sources(words.tolist()))
        for _ in range(5):
            log_probs, state = model.step(tokens, state)
            tokens = log_probs.argmax(-1)
            written.append(tokens)
    return float((torch.stack(written, 1) == words).float().mean())
