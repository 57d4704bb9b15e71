"""What a decoder returns."""

from __future__ import annotations

from typing import NamedTuple


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
