"""The one decoder of all non-autoregressive models: a canvas is refined until it no longer changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.limits import length_limits
from seqdistill.hypothesis import Hypothesis, TracedHypothesis, Version
from seqdistill.models.interface import Canvas, RefinementModel, RescoringModel
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import SpecialIds


def refine(
    model: RefinementModel, source: Int[Tensor, "batch source"], options: DecodingOptions, given: Given = NOTHING
) -> list[list[Hypothesis]]:
    """Decodes every sentence at its `beam` most probable lengths, side by side, in at most `iterations` iterations.

    A row leaves the batch when an iteration gives back the words that it was given. (Predictions are compared: a model
    that masks part of its canvas does so at the beginning of an iteration.) If the model does not settle, a row leaves
    only when an iteration had nothing to do for it: mask-predict may keep every word while most of them are masked, and
    still change some when it sees more.

    Candidates are ranked by log_prob / tokens ** length_penalty, at the default of 1 their mean log-probability a token
    (Ghazvininejad et al. 2019, section 3.3). The probabilities of the length and of EOS, which these models do not
    write, do not count. Empty candidates are last.

    Returns:
        For each sentence its `n_best` best candidates. Two may be equal if the length limit cut both.
    """
    assert not (given.prefixes or given.allowed), "rules for what is written next are for models that write in order"
    traced = _traced(_iterations(model, source, options), len(source) * options.beam, options, model.target_ids.pad)
    groups = [traced[first : first + options.beam] for first in range(0, len(traced), options.beam)]
    return [[found.hypothesis for found in _ranked(group)][: options.n_best] for group in groups]


def trace(model: RefinementModel, source: Int[Tensor, "1 source"], options: DecodingOptions) -> list[TracedHypothesis]:
    """Decodes one sentence as `refine` does, and keeps all versions of its candidates."""
    return _ranked(_traced(_iterations(model, source, options), options.beam, options, model.target_ids.pad))[
        : options.n_best
    ]


class _Iteration(NamedTuple):
    """The rows that took part in an iteration, and their new outputs."""

    rows: Int[Tensor, " going"]
    """Their numbers: sentence * beam + candidate."""
    canvas: Canvas


def _iterations(
    model: RefinementModel, source: Int[Tensor, "batch source"], options: DecodingOptions
) -> Iterator[_Iteration]:
    """Iterates, with the rows that are not finished yet."""
    iterations = options.iterations or model.iterations
    # As sentences leave, `rows` says which are left: canvas, memory and limits[rows] are in its order. Each row has a
    # copy of its sentence's memory from the first iteration on, so candidates leave one by one.
    ids = model.target_ids
    limits = length_limits(source, options, padding=model.source_ids.pad).repeat_interleave(options.beam)
    rows = torch.arange(len(limits), device=source.device)
    memory = model.encode(source)
    canvas = _cut(model.start(memory, candidates=options.beam), limits, ids.pad)
    # With a beam of 2 the rows 0 1 2 3 read the sentences 0 0 1 1.
    memory = memory.select(rows // options.beam)
    for step in range(iterations):
        canvas = _narrowed(canvas, ids.pad)
        before = canvas
        canvas = model.refine(
            canvas, memory, step=step, iterations=iterations, limits=limits[rows], penalty=options.penalty
        )
        if options.rescoring_samples:
            canvas = cast(RescoringModel, model).rescored(canvas, memory, samples=options.rescoring_samples)
        _check(canvas, limits[rows], ids)
        yield _Iteration(rows, canvas)
        # A model that settles and gives back what it was given would do so for ever.
        done = _equal_rows(before.tokens, canvas.tokens, ids.pad)
        if not model.traits.settles:
            done &= canvas.passes == before.passes
        going = (~done).nonzero().squeeze(1)
        if not len(going):
            break
        if len(going) < len(rows):
            rows, memory = rows[going], memory.select(going)
            canvas = Canvas(*(field[going] for field in canvas))


def _traced(
    iterations: Iterator[_Iteration], rows: int, options: DecodingOptions, padding: int
) -> list[TracedHypothesis]:
    """All versions of each row. A row that leaves is not in the iterations after, so its last version is final."""
    versions: list[list[Version]] = [[] for _ in range(rows)]
    for iteration in iterations:
        tokens = iteration.canvas.tokens
        lengths = (tokens != padding).sum(1).tolist()
        totals = iteration.canvas.log_probs.double().sum(1).tolist()
        passes = iteration.canvas.passes.tolist()
        for row, words, length, total, count in zip(
            iteration.rows.tolist(), tokens.tolist(), lengths, totals, passes, strict=True
        ):
            # Padding stands at the right, so the words are the first `length` columns.
            versions[row].append(Version(tuple(words[:length]), total, count))
    return [TracedHypothesis(_hypothesis(found, options), tuple(found)) for found in versions]


def _hypothesis(versions: Sequence[Version], options: DecodingOptions) -> Hypothesis:
    tokens, log_prob, passes = versions[-1]
    score = log_prob / max(len(tokens), 1) ** options.length_penalty
    return Hypothesis(tokens, log_prob, score, passes=passes, iterations=len(versions))


def _ranked(candidates: Sequence[TracedHypothesis]) -> list[TracedHypothesis]:
    """The candidates of one sentence, best first, each with the passes and iterations of the sentence."""
    # Candidates run side by side, so a sentence takes as long as the one of them that takes longest.
    passes = max(found.hypothesis.passes for found in candidates)
    iterations = max(found.hypothesis.iterations for found in candidates)
    ranked = sorted(candidates, key=lambda found: (not found.hypothesis.tokens, -found.hypothesis.score))
    return [
        found._replace(hypothesis=found.hypothesis._replace(passes=passes, iterations=iterations)) for found in ranked
    ]


def _cut(canvas: Canvas, limits: Int[Tensor, " rows"], padding: int) -> Canvas:
    """Shortens rows that are longer than their limit."""
    beyond = torch.arange(canvas.tokens.shape[1], device=limits.device) >= limits[:, None]
    return canvas._replace(
        tokens=canvas.tokens.masked_fill(beyond, padding), log_probs=canvas.log_probs.masked_fill(beyond, 0)
    )


def _narrowed(canvas: Canvas, padding: int) -> Canvas:
    """Without columns that hold only padding."""
    width = int((canvas.tokens != padding).sum(1).max())
    return canvas._replace(tokens=canvas.tokens[:, :width], log_probs=canvas.log_probs[:, :width])


def _check(canvas: Canvas, limits: Int[Tensor, " rows"], ids: SpecialIds) -> None:
    unwritten = canvas.tokens == ids.placeholder
    assert not unwritten.any(), "a refinement model must have written every position in each iteration"
    assert ((canvas.tokens != ids.pad).sum(1) <= limits).all(), "a refinement model must not exceed the length limits"


def _equal_rows(before: Int[Tensor, "rows old"], after: Int[Tensor, "rows new"], padding: int) -> Bool[Tensor, " rows"]:
    """Which rows hold the same tokens, however wide their padding."""
    width = max(before.shape[1], after.shape[1])
    before, after = (pad(tokens, (0, width - tokens.shape[1]), value=padding) for tokens in (before, after))
    return (before == after).all(1)
