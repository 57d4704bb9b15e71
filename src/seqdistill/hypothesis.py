"""What a decoder returns, in token ids and as text; every engine's, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqdistill.vocabulary.vocabulary import Vocabulary


class Hypothesis(NamedTuple):
    """One output in token ids."""

    tokens: tuple[int, ...]
    """Without BOS and EOS."""
    log_prob: float
    """Natural log-probability of the tokens, and of EOS if the hypothesis was finished by it, given all that may
    not be written (see `processors`)."""
    score: float
    """log_prob / length ** length_penalty, the length counting EOS: what hypotheses are ranked by."""
    passes: int = 0
    """Runs of a non-autoregressive model's decoder until its sentence was done: those of the candidate with the most,
    as candidates are refined side by side; 0 from an autoregressive model."""
    iterations: int = 0
    """Its iterations, counted the same way, including a last one that changed nothing."""


EMPTY = Hypothesis((), 0.0, 0.0)
"""The only hypothesis of a source without words."""


class Version(NamedTuple):
    """A hypothesis in the making."""

    tokens: tuple[int, ...]
    log_prob: float
    """Sum of the log-probabilities of its tokens."""
    passes: int
    """Runs of the decoder so far."""


class TracedHypothesis(NamedTuple):
    """A hypothesis and how it came about."""

    hypothesis: Hypothesis
    versions: tuple[Version, ...]
    """After each iteration of it; the last one is the hypothesis."""


class TextHypothesis(NamedTuple):
    """One output as text."""

    text: str
    log_prob: float
    """Natural log-probability of its tokens, and of EOS if it was finished by it."""
    score: float
    """log_prob / length ** length_penalty, the length counting EOS; what hypotheses are ranked by."""
    passes: int = 0
    """As `Hypothesis.passes`."""
    iterations: int = 0
    """As `Hypothesis.iterations`."""


def as_text(results: Sequence[Sequence[Hypothesis]], tokenizer: Vocabulary) -> list[list[TextHypothesis]]:
    """Detokenises hypotheses, all in one call."""
    texts = iter(tokenizer.decode_batch([found.tokens for hypotheses in results for found in hypotheses]))
    return [
        [
            TextHypothesis(next(texts), found.log_prob, found.score, found.passes, found.iterations)
            for found in hypotheses
        ]
        for hypotheses in results
    ]


def longest_first(sources: Sequence[Sequence[int]]) -> list[int]:
    """Row numbers of the sources that have words, longest first, equal lengths in their order."""
    return sorted((row for row in range(len(sources)) if sources[row]), key=lambda row: -len(sources[row]))
