"""The one decoder of all non-autoregressive models: a canvas is refined until it no longer changes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

from seqdistill.decoding.hypothesis import DecodingOptions, Hypothesis
from seqdistill.decoding.limits import length_limits
from seqdistill.models.interface import Canvas, RefinementModel
from seqdistill.text.tokenizer import MASK, PAD


def refine(
    model: RefinementModel, source: Int[Tensor, "batch source"], options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Decodes every sentence at its `beam` most probable lengths, side by side, in `model.iterations` at most.

    A row leaves the batch when an iteration returns the predictions of the one before (compared as predicted: a model
    that masks part of its canvas does so at the beginning of an iteration). Candidates are ranked by
    log_prob / tokens ** length_penalty, at the default of 1 their mean log-probability a token (Ghazvininejad et al.
    2019, section 4.2); the length's own probability and EOS, which these models do not write, count for nothing. Empty
    candidates are last.

    Returns:
        For each sentence its `n_best` best candidates. Two may be equal if the length limit cut both.
    """
    limits = length_limits(source, options).repeat_interleave(options.beam)
    rows = torch.arange(len(limits), device=source.device)
    memory = model.encode(source)
    canvas = _cut(model.start(memory, candidates=options.beam), limits)
    memory = memory.select(rows // options.beam)
    written: list[Hypothesis] = [Hypothesis((), 0.0, 0.0)] * len(limits)
    for step in range(model.iterations):
        before = canvas.tokens
        canvas = model.refine(canvas, memory, step=step, iterations=model.iterations, limits=limits[rows], penalty=0.0)
        finished = _equal_rows(before, canvas.tokens)
        if step == model.iterations - 1:
            finished = torch.ones_like(finished)
        _read(written, canvas, rows, finished, options)
        going = (~finished).nonzero().squeeze(1)
        if not len(going):
            break
        if len(going) < len(rows):
            rows, memory = rows[going], memory.select(going)
            canvas = Canvas(*(field[going] for field in canvas))
    groups = [written[first : first + options.beam] for first in range(0, len(written), options.beam)]
    return [sorted(group, key=lambda found: (not found.tokens, -found.score))[: options.n_best] for group in groups]


def _cut(canvas: Canvas, limits: Int[Tensor, " rows"]) -> Canvas:
    """Shortens rows that are longer than their limit."""
    beyond = torch.arange(canvas.tokens.shape[1], device=limits.device) >= limits[:, None]
    return canvas._replace(
        tokens=canvas.tokens.masked_fill(beyond, PAD), log_probs=canvas.log_probs.masked_fill(beyond, 0)
    )


def _equal_rows(before: Int[Tensor, "rows old"], after: Int[Tensor, "rows new"]) -> Bool[Tensor, " rows"]:
    """Which rows hold the same tokens, however wide their padding."""
    width = max(before.shape[1], after.shape[1])
    before, after = (pad(tokens, (0, width - tokens.shape[1]), value=PAD) for tokens in (before, after))
    return (before == after).all(1)


def _read(
    written: list[Hypothesis],
    canvas: Canvas,
    rows: Int[Tensor, " rows"],
    finished: Bool[Tensor, " rows"],
    options: DecodingOptions,
) -> None:
    """Stores the finished rows of the canvas at their row numbers."""
    tokens = canvas.tokens[finished]
    assert not (tokens == MASK).any(), "a refinement model must have written every position after each iteration"
    lengths = (tokens != PAD).sum(1).tolist()
    totals = canvas.log_probs[finished].double().sum(1).tolist()
    for row, words, length, total in zip(rows[finished].tolist(), tokens.tolist(), lengths, totals, strict=True):
        written[row] = Hypothesis(tuple(words[:length]), total, total / max(length, 1) ** options.length_penalty)
