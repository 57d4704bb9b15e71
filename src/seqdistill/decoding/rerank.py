"""Noisy parallel decoding: a teacher that writes left to right chooses among a student's candidates (Gu et al. 2018,
section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from seqdistill.data.batches import Pair, ordered_batches
from seqdistill.decoding.corpus import Engine, TextHypothesis, TracingEngine
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.decoding.trace import Trace
from seqdistill.errors import UserError
from seqdistill.models.interface import AutoregressiveModel, Model
from seqdistill.vocabulary.vocabularies import Vocabularies


class RerankingEngine:
    """Decodes with one engine, as many hypotheses as its beam, and returns them in the teacher's order.

    A hypothesis keeps the `log_prob` of who wrote it; its `score` is the teacher's mean log-probability of a token, EOS
    included. The teacher reads text, so its tokenizer may be another. Empty hypotheses come last.
    """

    def __init__(
        self,
        engine: Engine,
        teacher: Model,
        tokenizers: Vocabularies,
        *,
        device: str | torch.device = "cpu",
        max_tokens: int = 2048,
        fingerprint: str = "",
    ):
        """Args:
            max_tokens: of a batch of the teacher, padding included, on its longer side.
            fingerprint: of the teacher.

        Raises:
            UserError: a teacher that writes all positions at once.
        """
        if teacher.traits.non_autoregressive:
            raise UserError(
                "the teacher that reranks must write left to right, but this one writes all positions at once: give "
                "another model"
            )
        self.engine, self.tokenizers, self.max_tokens = engine, tokenizers, max_tokens
        self.device = torch.device(device)
        self.teacher = teacher.to(self.device).eval()
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {**self.engine.fingerprint, "rerank": self._fingerprint}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        """As `Engine.decode`.

        Raises:
            UserError: options that give one hypothesis only.
        """
        results = self.engine.decode(sources, _all_candidates(options), line_numbers=line_numbers)
        scores = self._scores(sources, [[found.text for found in hypotheses] for hypotheses in results])
        return [
            [hypotheses[place]._replace(score=own[place]) for place in _order(texts, own)][: options.n_best]
            for hypotheses, (texts, own) in zip(results, scores, strict=True)
        ]

    def traces(self, source: str, options: DecodingOptions) -> list[Trace]:
        """As `TracingEngine.traces`; the engine must be one."""
        found = cast(TracingEngine, self.engine).traces(source, _all_candidates(options))
        ((texts, scores),) = self._scores([source], [[each.translation for each in found]])
        return [found[place] for place in _order(texts, scores)][: options.n_best]

    def _scores(
        self, sources: Sequence[str], translations: Sequence[Sequence[str]]
    ) -> list[tuple[Sequence[str], list[float]]]:
        """The translations of each source, and the teacher's score of each."""
        encoded = self.tokenizers.source.encode_batch(sources)
        pairs: list[Pair] = [
            (ids, target)
            for ids, texts in zip(encoded, translations, strict=True)
            for target in self.tokenizers.target.encode_batch(texts)
        ]
        scores = iter(mean_log_probs(self.teacher, pairs, device=self.device, max_tokens=self.max_tokens))
        return [(texts, [next(scores) for _ in texts]) for texts in translations]


@torch.inference_mode()
def mean_log_probs(
    teacher: Model, pairs: Sequence[Pair], *, device: str | torch.device = "cpu", max_tokens: int = 2048
) -> list[float]:
    """The teacher's log-probability of each target given its source, divided by its tokens, EOS included in both.

    Args:
        teacher: an AutoregressiveModel in evaluation mode.
        pairs: token ids without EOS.
        max_tokens: of a batch, padding included, on its longer side.

    Returns:
        Nats a token, over the whole vocabulary.
    """
    model = cast(AutoregressiveModel, teacher)
    scores = [0.0] * len(pairs)
    for batch in ordered_batches(
        pairs, max_tokens=max_tokens, source_ids=model.source_ids, target_ids=model.target_ids
    ):
        source, target = batch.source.to(device), batch.target.to(device)
        log_probs = model.forward(source, target).log_softmax(-1).gather(2, target[..., None]).squeeze(2)
        mask = target != model.target_ids.pad
        means = log_probs.masked_fill(~mask, 0).double().sum(1) / mask.sum(1)
        for row, mean in zip(batch.index.tolist(), means.tolist(), strict=True):
            scores[row] = mean
    return scores


def check_candidates(options: DecodingOptions) -> None:
    """Raises UserError for options that give one hypothesis only."""
    if (options.n_best if options.sampling else options.beam) == 1:
        raise UserError(
            "reranking chooses among several hypotheses, but one is asked for: give a beam of 2 or more (of a "
            "non-autoregressive model, lengths tried), or sample several"
        )


def _all_candidates(options: DecodingOptions) -> DecodingOptions:
    """The same options with every hypothesis returned."""
    check_candidates(options)
    return options if options.sampling else replace(options, n_best=options.beam)


def _order(texts: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Places from best to worst, empty texts last, of equals the first."""
    return sorted(range(len(texts)), key=lambda place: (not texts[place], -scores[place]))
