"""From lines of text to hypotheses in text: what every engine does. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.trace import Trace
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis, TextHypothesis, as_text
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.vocabularies import Vocabularies

RULES = frozenset({"no_repeat_ngram", "min_length", "prefixes", "allowed"})
"""The rules on what a decoder may write next: options, and arguments of `GuidedEngine.decode`."""


@dataclass(frozen=True)
class EngineTraits:
    """What an engine can do with its model; the default can do nothing but decode."""

    non_autoregressive: bool = False
    """It iterates, and counts passes and iterations; its beam is lengths tried."""
    inserts: bool = False
    """Its model inserts words: one candidate a sentence, and a penalty on inserting nothing."""
    samples: bool = False
    n_best: bool = False
    """It returns several hypotheses if asked."""
    traces: bool = False
    """It is a TracingEngine, and has iterations to show."""
    scores: bool = False
    """It is a ScoringEngine."""
    rules: frozenset[str] = frozenset()
    """Those of RULES that it keeps; with prefixes or allowed it is a GuidedEngine."""


@runtime_checkable
class Engine(Protocol):
    """Turns text into text with scores; engines differ in speed, not in their rules."""

    @property
    def traits(self) -> EngineTraits:
        """What else it can do."""
        ...

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What decides its output, as JSON: its name, as `engine`, and the rest, such as model and precision."""
        ...

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        """For each line up to `n_best` hypotheses, best first. A line without words has one: the empty text.

        Args:
            line_numbers: place of each line in its corpus, which with `options.seed` decides what sampling draws;
                0, 1, ... if absent.
        """
        ...


@runtime_checkable
class GuidedEngine(Engine, Protocol):
    """An engine that can be told how the output of each line begins, and what it may be made of."""

    @property
    def tokenizers(self) -> Vocabularies:
        """Whose ids these are."""
        ...

    def decode(
        self,
        sources: Sequence[str],
        options: DecodingOptions,
        *,
        line_numbers: Sequence[int] | None = None,
        prefixes: Sequence[Sequence[int]] = (),
        allowed: Sequence[Sequence[int]] = (),
    ) -> list[list[TextHypothesis]]:
        """As `Engine.decode`.

        Args:
            prefixes, allowed: as `Given`. A line without words still has the empty text.
        """
        ...


@runtime_checkable
class DecodesIds(Protocol):
    """An engine between the tokenizers: token ids in, token ids out."""

    @property
    def tokenizers(self) -> Vocabularies: ...

    def decode_ids(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, given: Given = NOTHING
    ) -> list[list[Hypothesis]]:
        """For each source up to `n_best` hypotheses, best first; without BOS and EOS on either side."""
        ...


def decode_texts(
    self: DecodesIds,
    sources: Sequence[str],
    options: DecodingOptions,
    *,
    line_numbers: Sequence[int] | None = None,
    prefixes: Sequence[Sequence[int]] = (),
    allowed: Sequence[Sequence[int]] = (),
) -> list[list[TextHypothesis]]:
    """The `decode` of a GuidedEngine that decodes ids; raises what its `decode_ids` does."""
    ids = self.tokenizers.source.encode_batch(sources)
    given = Given(line_numbers or (), prefixes, allowed)
    return as_text(self.decode_ids(ids, options, given), self.tokenizers.target)


@runtime_checkable
class ScoringEngine(Engine, Protocol):
    """An engine that says how probable it finds outputs, whoever wrote them."""

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """Log-probability of each target given its source, divided by its tokens, EOS included in both; nats."""
        ...


@runtime_checkable
class TracingEngine(Engine, Protocol):
    """An engine that can show how a non-autoregressive model came to its output."""

    def traces(self, source: str, options: DecodingOptions) -> list[Trace]:
        """The `n_best` best hypotheses of a line after each iteration; without words, one hypothesis of no iteration.

        Raises:
            UserError: an autoregressive model.
        """
        ...


def check_engine(engine: Engine, options: DecodingOptions) -> None:
    """Raises UserError for options that the engine would have to ignore."""
    traits = engine.traits
    lacking = {
        "sampling": not traits.samples,
        "n_best": not traits.n_best,
        "no_repeat_ngram": "no_repeat_ngram" not in traits.rules,
        "min_length": "min_length" not in traits.rules,
    }
    for name in (name for name, lacks in lacking.items() if lacks):
        if (value := getattr(options, name)) != getattr(DecodingOptions(), name):
            raise UserError(
                f"{name} {value}: the engine {engine.fingerprint['engine']} has no such option: leave it out"
            )


def described(fingerprint: Mapping[str, Any]) -> str:
    """An engine in a few words of its fingerprint, such as `compiled int8`."""
    return " ".join(str(fingerprint[name]) for name in ("engine", "precision") if name in fingerprint)
