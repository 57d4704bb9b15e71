"""Writing left to right, one hypothesis a row: the most probable token each time, or one drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.limits import length_limits, remaining
from seqdistill.decoding.processors import Rows, processors_of
from seqdistill.decoding.sampling import draw, draw_keys, uniform
from seqdistill.decoding.top import top_tokens
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.interface import State
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import SpecialIds

Choose = Callable[[Tensor, int, Tensor], Tensor]
"""(log-probs of the rows still written, step, their row numbers) -> one token each."""


@runtime_checkable
class Writer(Protocol):
    """What decoding needs of an AutoregressiveModel (see models/interface.py): no forward, no loss."""

    source_ids: SpecialIds
    target_ids: SpecialIds

    def encode(self, source: Int[Tensor, "batch source"]) -> State: ...

    def step(self, tokens: Int[Tensor, " rows"], state: State) -> tuple[Float[Tensor, "rows vocab"], State]: ...


def greedy(
    model: Writer, source: Int[Tensor, "batch source"], options: DecodingOptions, given: Given = NOTHING
) -> list[list[Hypothesis]]:
    """Takes the most probable token until EOS or the length limit; one hypothesis for each sentence."""

    def most_probable(log_probs: Tensor, _step: int, _rows: Tensor) -> Tensor:
        return top_tokens(log_probs, 1)[1].squeeze(1)

    return _write(model, source, options, given, draws=1, choose=most_probable)


def sample(
    model: Writer, source: Int[Tensor, "batch source"], options: DecodingOptions, given: Given = NOTHING
) -> list[list[Hypothesis]]:
    """Draws `n_best` hypotheses for each sentence, best score first (see `sampling.draw` for top-k and top-p).

    Args:
        given: without seeds, the rows' numbers are.

    Returns:
        Hypotheses whose log_prob is that of the model before temperature and truncation.
    """
    keys = draw_keys(options.seed, np.array(given.seeds or range(len(source)), np.int64), options.n_best)

    def drawn(log_probs: Tensor, step: int, rows: Tensor) -> Tensor:
        numbers = uniform(keys[rows.cpu().numpy()], step)
        return draw(log_probs, torch.from_numpy(numbers).to(log_probs.device), options)

    return _write(model, source, options, given, draws=options.n_best, choose=drawn)


def _write(
    model: Writer,
    source: Int[Tensor, "batch source"],
    options: DecodingOptions,
    given: Given,
    *,
    draws: int,
    choose: Choose,
) -> list[list[Hypothesis]]:
    """The loop over positions; finished rows leave the batch."""
    # `rows` are the numbers of the rows still written; `tokens`, `state` and `log_probs` have one row for each of them,
    # `written`, `chosen_log_probs` and `limits` one for every row there was.
    ids = model.target_ids
    process = processors_of(ids, options, given, source.device)
    limits = length_limits(source, options, padding=model.source_ids.pad).repeat_interleave(draws)
    state = model.encode(source)
    rows = torch.arange(len(limits), device=source.device)
    if draws > 1:
        # With 2 draws the rows 0 1 2 3 begin with the sentences 0 0 1 1; from there on each goes its own way.
        state = state.select(rows // draws)
    written = source.new_full((len(limits), int(limits.max())), ids.pad)
    chosen_log_probs = torch.zeros(written.shape, device=source.device)
    tokens = source.new_full((len(limits),), ids.decoder_start)
    for step in range(written.shape[1]):
        log_probs, state = model.step(tokens, state)
        # `process` sets what may not come to minus infinity; `left` is the log of the probability that remains, and
        # what is chosen is measured against it.
        left = process(log_probs, Rows(written[rows, :step], rows // draws))
        tokens = choose(log_probs, step, rows)
        written[rows, step] = tokens
        chosen_log_probs[rows, step] = (log_probs.gather(1, tokens[:, None]) - left).squeeze(1).float()
        # step + 1 tokens are written now, EOS included.
        kept = remaining((tokens == ids.eos) | (limits[rows] <= step + 1))
        if not len(kept):
            break
        if len(kept) < len(rows):
            rows, tokens, state = rows[kept], tokens[kept], state.select(kept)
    return _hypotheses(written, chosen_log_probs, ids, draws, options)


def _hypotheses(
    written: Int[Tensor, "rows length"],
    log_probs: Float[Tensor, "rows length"],
    ids: SpecialIds,
    draws: int,
    options: DecodingOptions,
) -> list[list[Hypothesis]]:
    """Cuts each row at EOS or padding; the draws of a sentence are sorted by score, equal scores in drawn order."""
    lengths = (written != ids.pad).sum(1).cpu().numpy()
    totals = log_probs.double().sum(1).cpu().numpy()
    scores = totals / np.maximum(lengths, 1).astype(np.float64) ** options.length_penalty
    hypotheses = []
    for row, length, total, score in zip(
        written.tolist(), lengths.tolist(), totals.tolist(), scores.tolist(), strict=True
    ):
        # A row that was cut at its limit does not end with EOS.
        tokens = row[: length - 1] if row[length - 1] == ids.eos else row[:length]
        hypotheses.append(Hypothesis(tuple(tokens), total, score))
    groups = [hypotheses[first : first + draws] for first in range(0, len(hypotheses), draws)]
    return [sorted(group, key=lambda hypothesis: -hypothesis.score) for group in groups]
