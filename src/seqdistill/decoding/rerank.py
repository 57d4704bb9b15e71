"""Noisy parallel decoding: an autoregressive teacher chooses among a student's candidates (Gu et al. 2018,
section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from seqdistill.decoding.engine import Engine, EngineTraits, ScoringEngine, TracingEngine
from seqdistill.decoding.trace import Trace
from seqdistill.errors import UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions


class RerankingEngine:
    """Decodes with one engine, as many hypotheses as its beam, and returns them in the teacher's order.

    A hypothesis keeps the `log_prob` of who wrote it; its `score` is the teacher's mean log-probability of a token, EOS
    included. The teacher reads text, so it may be any engine that scores it. Empty hypotheses come last.
    """

    def __init__(self, engine: Engine, teacher: Engine):
        """Raises UserError for a teacher that cannot score what others wrote."""
        if not teacher.traits.scores:
            raise UserError(
                "the teacher that reranks must score given outputs, as autoregressive models do, but this "
                "one cannot: give another model"
            )
        self.engine, self.teacher = engine, cast(ScoringEngine, teacher)

    @property
    def traits(self) -> EngineTraits:
        return replace(self.engine.traits, scores=False)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {**self.engine.fingerprint, "rerank": dict(self.teacher.fingerprint)}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        """As `Engine.decode`.

        Raises:
            UserError: options that give only one hypothesis.
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
        # All translations of all sources in one flat list, so that the teacher's batches are full; taken apart again.
        given = [source for source, texts in zip(sources, translations, strict=True) for _ in texts]
        scores = iter(self.teacher.scores(given, [text for texts in translations for text in texts]))
        return [(texts, [next(scores) for _ in texts]) for texts in translations]


def _all_candidates(options: DecodingOptions) -> DecodingOptions:
    """The same options with every hypothesis returned."""
    options.check_several()
    return options if options.sampling else options.model_copy(update={"n_best": options.beam})


def _order(texts: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Places from best to worst, empty texts last; ties stay in order."""
    return sorted(range(len(texts)), key=lambda place: (not texts[place], -scores[place]))
