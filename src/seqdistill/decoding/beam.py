"""Beam search over batch x beam, with n-best lists and length normalisation.

Stopping rule. A sentence is done when one of three things holds:
1. `beam` of its hypotheses have ended (the rule of fairseq and of CTranslate2, so all engines search alike);
2. no live hypothesis can still enter the n-best list: a log-probability only falls, so a live one scores at most
   max(l / t ** a, l / T ** a), l its log-probability, t the next length, T the length limit, a the length penalty;
3. it is at its length limit: live hypotheses are then taken as they are, without EOS.
Rule 2 alone would be exact, but for a > 0 the bound at T is so far away that nearly every sentence would be searched
to its limit, at several times the cost. Rule 1 cannot fire early in a beam as wide as the space of outputs, so both
agree with brute force there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.decoding.autoregressive import Writer
from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.limits import length_limits, remaining
from seqdistill.decoding.processors import Rows, processors_of
from seqdistill.decoding.top import top_tokens
from seqdistill.hypothesis import Hypothesis
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import SpecialIds


class Live(NamedTuple):
    """The hypotheses being written; `n` sentences are left in the batch."""

    sentence: Int[Tensor, " n"]
    """Row of each in the source."""
    tokens: Int[Tensor, "n beam length"]
    log_probs: Float[Tensor, "n width"]
    """Best first; minus infinity where the beam is not filled yet. One column before the first step."""
    limits: Int[Tensor, " n"]


class Ended(NamedTuple):
    """The best hypotheses that have ended, for every sentence of the source; minus infinity where there is none."""

    tokens: Int[Tensor, "batch n_best length"]
    log_probs: Float[Tensor, "batch n_best"]
    scores: Float[Tensor, "batch n_best"]
    counts: Int[Tensor, " batch"]
    """How many have ended, including those that fell out of the n best."""


class Candidates(NamedTuple):
    """The 2 * beam best continuations of each sentence, best first."""

    log_probs: Float[Tensor, "n candidates"]
    parents: Int[Tensor, "n candidates"]
    tokens: Int[Tensor, "n candidates"]
    end: Bool[Tensor, "n candidates"]
    """Whether the token is EOS."""


def beam_search(
    model: Writer, source: Int[Tensor, "batch source"], options: DecodingOptions, given: Given = NOTHING
) -> list[list[Hypothesis]]:
    """Searches for the hypotheses of highest log_prob / length ** length_penalty (length with EOS).

    Each step looks at the 2 * beam best continuations of a sentence: those among the first `beam` that end are
    collected, the best `beam` of the others live on. Finished sentences leave the batch.

    Returns:
        For each sentence up to `n_best` hypotheses, best first (fewer only if the model allows no more).
    """
    ids, beam = model.target_ids, options.beam
    process = processors_of(ids, options, given, source.device)
    limits = length_limits(source, options, padding=model.source_ids.pad)
    batch, longest = len(source), int(limits.max())
    live = Live(
        sentence=torch.arange(batch, device=source.device),
        tokens=source.new_full((batch, beam, longest), ids.pad),
        log_probs=torch.zeros((batch, 1), device=source.device),
        limits=limits,
    )
    # Three arrays go in step. The model's state has a row for each live hypothesis: row `beam * i + place` is the
    # `place`-th best one of the i-th sentence of `live`. `live` holds the sentences still searched, in the order of
    # `state`, which changes as sentences leave; `ended` holds all, in the order of `source`, by `live.sentence`.
    ended = _none_ended(live, options.n_best, ids.pad)
    state = model.encode(source)
    tokens = source.new_full((batch,), ids.decoder_start)
    for step in range(longest):
        log_probs, state = model.step(tokens, state)
        width = live.log_probs.shape[1]
        written = live.tokens[:, :width, :step].flatten(0, 1)
        left = process(log_probs, Rows(written, live.sentence.repeat_interleave(width)))
        candidates = _candidates(live.log_probs, log_probs, left, beam, ids.eos)
        _collect(ended, live, candidates, step, options)
        live, parents = _continue(live, candidates, step)
        kept = remaining(_done(live, ended, step, options))
        if not len(kept):
            break
        if step == 0:  # until now a row a sentence: equal rows would have filled the beam with equal hypotheses
            state = state.repeat(beam)
        live, rows = _keep(live, parents, kept)
        state = state.select(rows)
        tokens = live.tokens[:, :, step].flatten()
    return _hypotheses(ended, ids)


def _none_ended(live: Live, n_best: int, padding: int) -> Ended:
    batch, _, longest = live.tokens.shape
    nothing = torch.full((batch, n_best), -torch.inf, device=live.tokens.device)
    return Ended(
        tokens=live.tokens.new_full((batch, n_best, longest), padding),
        log_probs=nothing,
        scores=nothing.clone(),
        counts=live.sentence.new_zeros(batch),
    )


def _candidates(
    live_log_probs: Float[Tensor, "n width"],
    log_probs: Float[Tensor, "rows vocab"],
    left: Float[Tensor, "rows 1"],
    beam: int,
    eos: int,
) -> Candidates:
    """The best 2 * beam of a sentence are among the best 2 * beam of each of its rows."""
    # The 2 * beam best of a sentence lie among its rows' lists, `wanted` columns each, side by side: column c of all of
    # them is of row c // wanted. Every row has one EOS, so of the candidates at most `beam` end, and as many are left.
    n, width = live_log_probs.shape
    wanted = min(2 * beam, log_probs.shape[1])
    values, tokens = top_tokens(log_probs, wanted)
    totals = ((values - left).view(n, width, wanted) + live_log_probs[:, :, None]).flatten(1)
    # In a beam of 2, `wanted` is 4: column 5 is the second best token of row 5 // 4 = 1.
    best, place = totals.topk(min(2 * beam, totals.shape[1]))
    chosen = tokens.view(n, width * wanted).gather(1, place)
    return Candidates(best, place // wanted, chosen, chosen == eos)


def _collect(ended: Ended, live: Live, candidates: Candidates, step: int, options: DecodingOptions) -> None:
    """Puts candidates that end among the first `beam` into `ended`, in place; at the limit all of them end."""
    beam = live.tokens.shape[1]
    log_probs, tokens = candidates.log_probs[:, :beam], candidates.tokens[:, :beam]
    ends = (candidates.end[:, :beam] | (live.limits == step + 1)[:, None]) & log_probs.isfinite()
    some = ends.any(1).nonzero().squeeze(1)
    if not len(some):
        return
    sentence, ends, log_probs = live.sentence[some], ends[some], log_probs[some]
    # (some, beam, length): what each candidate's parent has written, and the candidate's token behind it.
    written = live.tokens[some[:, None], candidates.parents[some, :beam]]
    written[:, :, step] = tokens[some]
    scores = (log_probs / (step + 1) ** options.length_penalty).masked_fill(~ends, -torch.inf)
    # The n best of those that had ended and those that end now, for which minus infinity stands where nothing ends.
    all_scores, order = torch.cat([ended.scores[sentence], scores], 1).topk(options.n_best)
    # (some, n_best + beam, length) -> (some, n_best, length), in the order of the scores.
    all_tokens = torch.cat([ended.tokens[sentence], written], 1)
    ended.tokens[sentence] = all_tokens.gather(1, order[:, :, None].expand(-1, -1, all_tokens.shape[2]))
    ended.log_probs[sentence] = torch.cat([ended.log_probs[sentence], log_probs], 1).gather(1, order)
    ended.scores[sentence] = all_scores
    ended.counts[sentence] += ends.sum(1)


def _continue(live: Live, candidates: Candidates, step: int) -> tuple[Live, Int[Tensor, "n beam"]]:
    """The best `beam` candidates that do not end, and the place in the beam each one stems from."""
    beam = live.tokens.shape[1]
    log_probs = candidates.log_probs.masked_fill(candidates.end, -torch.inf)
    # A vocabulary smaller than the beam gives fewer candidates in the first step.
    if log_probs.shape[1] < beam:
        log_probs = torch.nn.functional.pad(log_probs, (0, beam - log_probs.shape[1]), value=-torch.inf)
    best, place = log_probs.topk(beam)
    # A place beyond the candidates (vocabularies smaller than the beam) has minus infinity: any parent will do.
    place = place.clamp(max=candidates.tokens.shape[1] - 1)
    parents = candidates.parents.gather(1, place)
    tokens = live.tokens.gather(1, parents[:, :, None].expand(live.tokens.shape))
    tokens[:, :, step] = candidates.tokens.gather(1, place)
    return live._replace(tokens=tokens, log_probs=best), parents


def _done(live: Live, ended: Ended, step: int, options: DecodingOptions) -> Bool[Tensor, " n"]:
    """Which sentences stop after this step (see the module's stopping rule)."""
    # A log-probability l of 0 or less only falls; l / t ** a is highest at the length limit for a > 0, at the next
    # length for a < 0. The n-th best score is minus infinity until n have ended, so before that nothing is unbeatable.
    # Now step + 1 tokens are written, so step + 2 is the next length.
    penalty, best = options.length_penalty, live.log_probs[:, 0]
    bound = torch.maximum(best / (step + 2) ** penalty, best / live.limits**penalty)
    unbeatable = ended.scores[live.sentence, -1] >= bound
    full = ended.counts[live.sentence] >= options.beam
    return unbeatable | full | (live.limits <= step + 1)


def _keep(
    live: Live, parents: Int[Tensor, "n beam"], kept: Int[Tensor, " kept"]
) -> tuple[Live, Int[Tensor, " kept_rows"]]:
    """Drops the other sentences; also the rows of the state the kept hypotheses continue from."""
    # With parents 1 0 and 0 0 in a beam of 2, the new rows 0 .. 3 go on from the rows 1 0 and 2 2.
    rows = (parents + torch.arange(len(parents), device=parents.device)[:, None] * parents.shape[1])[kept].flatten()
    if len(kept) == len(parents):
        return live, rows
    return Live(*(field[kept] for field in live)), rows


def _hypotheses(ended: Ended, ids: SpecialIds) -> list[list[Hypothesis]]:
    """Cuts EOS and padding off."""
    results = []
    for tokens, log_probs, scores in zip(
        ended.tokens.tolist(), ended.log_probs.tolist(), ended.scores.tolist(), strict=True
    ):
        found = zip(tokens, log_probs, scores, strict=True)
        results.append(
            [Hypothesis(_words(row, ids), log_prob, score) for row, log_prob, score in found if score > -torch.inf]
        )
    return results


def _words(row: list[int], ids: SpecialIds) -> tuple[int, ...]:
    end = next((place for place, token in enumerate(row) if token in (ids.eos, ids.pad)), len(row))
    return tuple(row[:end])
