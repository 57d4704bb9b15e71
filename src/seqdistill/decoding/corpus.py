"""From lines of text to hypotheses in text by our own decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from seqdistill.data.batches import collate_sources
from seqdistill.decoding.decode import evaluating, search_for, trace
from seqdistill.decoding.engine import RULES, EngineTraits, decode_texts
from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.scoring import mean_log_probs
from seqdistill.decoding.trace import Trace, text_trace
from seqdistill.hypothesis import EMPTY, Hypothesis, longest_first
from seqdistill.models.interface import AutoregressiveModel, Model
from seqdistill.native.search import check_lengths
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.vocabularies import Vocabularies

MOST_TOKENS = 32_768
"""Of a source: attention takes time by their square, so that a file on one line would never end."""
SCORED = 4
"""Scoring a token takes the memory of decoding this many: every place of a target has a whole distribution."""


class TorchEngine:
    """Our own decoder: any model, any device.

    Sources are sorted by length and decoded in batches of at most `max_tokens` source tokens times hypotheses, longest
    first (so a batch that does not fit into memory fails at once).
    """

    def __init__(
        self,
        model: Model,
        tokenizers: Vocabularies,
        *,
        max_tokens: int = 8192,
        device: str | torch.device = "cpu",
        precision: torch.dtype = torch.float32,
        fingerprint: str = "",
    ):
        """`precision` is that of matrix products; weights stay in float32."""
        self.model = model.to(device)
        self.tokenizers = tokenizers
        self.max_tokens = max_tokens
        self.device = torch.device(device)
        self.precision = precision
        self._fingerprint = fingerprint

    @property
    def traits(self) -> EngineTraits:
        traits = self.model.traits
        if traits.non_autoregressive:
            return EngineTraits(non_autoregressive=True, inserts=traits.inserts, n_best=True, traces=True)
        scores = isinstance(self.model, AutoregressiveModel)
        return EngineTraits(samples=True, n_best=True, scores=scores, rules=RULES)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {"engine": "torch", "model": self._fingerprint, "precision": str(self.precision).removeprefix("torch.")}

    decode = decode_texts

    def decode_ids(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, given: Given = NOTHING
    ) -> list[list[Hypothesis]]:
        """As `DecodesIds.decode_ids`.

        Raises:
            UserError: a source of more than MOST_TOKENS; an option of another family.
        """
        search = search_for(self.model, options)
        way_out = "split the line; one sentence a line is expected"
        check_lengths(sources, given.seeds, most=MOST_TOKENS, reader="the torch engine", way_out=way_out)
        given = given if given.seeds else given._replace(seeds=range(len(sources)))
        # Sources without words are in no batch, so they keep this.
        results = [[EMPTY]] * len(sources)
        # A sentence takes that many rows, so a batch holds as many times fewer sentences.
        width = options.n_best if options.sampling else options.beam
        with torch.inference_mode(), evaluating(self.model), self._computing():
            for rows in length_batches(sources, self.max_tokens // width):
                source = collate_sources([sources[row] for row in rows], self.model.source_ids).to(self.device)
                for row, hypotheses in zip(rows, search(source=source, given=given.of(rows)), strict=True):
                    results[row] = hypotheses
        return results

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """As `ScoringEngine.scores`."""
        encoded = zip(
            self.tokenizers.source.encode_batch(sources), self.tokenizers.target.encode_batch(targets), strict=True
        )
        tokens = self.max_tokens // SCORED
        with evaluating(self.model), self._computing():
            return mean_log_probs(self.model, list(encoded), device=self.device, max_tokens=tokens)

    def traces(self, source: str, options: DecodingOptions) -> list[Trace]:
        """As `TracingEngine.traces`."""
        ids = self.tokenizers.source.encode(source)
        with self._computing():
            found = trace(self.model, collate_sources([ids], self.model.source_ids).to(self.device), options)
        if not ids:
            return [Trace(source, "", ())]
        target, inserts = self.tokenizers.target, self.model.traits.inserts
        return [text_trace(source, each, target, inserts=inserts) for each in found]

    def _computing(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32)


def length_batches(sources: Sequence[Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Row numbers of the sources that have words, in batches of similar length, longest first.

    A batch holds at most `max_tokens` tokens counting EOS and padding, or one source.
    """
    batch: list[int] = []
    for row in longest_first(sources):
        # The first source of a batch is its longest one, and EOS makes it one token longer.
        if batch and (len(batch) + 1) * (len(sources[batch[0]]) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
