"""What a decoder returns, and what a user may ask of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from seqdistill.errors import UserError


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


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode; every engine and model reads the same options.

    Raises:
        UserError: a value out of range.
    """

    beam: int = 1
    """Beam size; 1 is greedy. For non-autoregressive decoders: the number of lengths tried (top-b)."""
    n_best: int = 1
    """Hypotheses returned for each sentence, best first; at most `beam` unless sampling."""
    length_penalty: float = 1.0
    """A log-probability is divided by the length to this power; 0 ranks by the log-probability itself."""
    max_length: int = 256
    """Most tokens of an output, EOS included."""
    max_ratio: float = 3.0
    """An output has at most `max_ratio` * source tokens + 10 tokens (the tighter of the two limits holds)."""
    sampling: bool = False
    """Draw tokens from the model's distribution; needs beam 1."""
    top_k: int = 0
    """Sample among the k most probable tokens; 0: all."""
    top_p: float = 1.0
    """Sample among the fewest tokens whose probabilities sum to p or more (nucleus); 1: all."""
    temperature: float = 1.0
    """Logits are divided by it before sampling."""
    seed: int = 1
    """Seed of the sampling."""
    iterations: int | None = None
    """Most iterations of a non-autoregressive model; None: its own number."""
    penalty: float = 0.0
    """For models that insert words: subtracted from the log-probability of inserting nothing in a slot."""
    no_repeat_ngram: int = 0
    """Length of n-grams that no output repeats; 0: repeats are allowed. For autoregressive models."""
    min_length: int = 0
    """Fewest tokens of an output, EOS not counted. For autoregressive models."""
    rescoring_samples: int = 0
    """For models with latent variables: hypotheses are scored by estimates of their log-probability from this
    many samples (importance-weighted decoding); 0: by the log-probabilities of the chosen words."""

    def __post_init__(self) -> None:
        positive = {"beam": self.beam, "n_best": self.n_best, "max_length": self.max_length}
        for name, value in positive.items():
            if value < 1:
                raise UserError(f"{name} must be 1 or more, but is {value}")
        if not self.sampling and self.n_best > self.beam:
            raise UserError(f"n_best {self.n_best} is more than beam {self.beam}: widen the beam or ask for fewer")
        if self.sampling and self.beam != 1:
            raise UserError(f"sampling draws one sequence at a time, but beam is {self.beam}: leave beam at 1")
        if not self.sampling and (self.top_k or self.top_p != 1.0 or self.temperature != 1.0):
            raise UserError("top_k, top_p and temperature belong to sampling: set sampling, or leave them out")
        if self.top_k < 0 or not 0 < self.top_p <= 1 or self.temperature <= 0 or self.max_ratio <= 0:
            raise UserError(
                f"top_k must be 0 or more, top_p in (0, 1], temperature and max_ratio above 0; "
                f"got {self.top_k}, {self.top_p}, {self.temperature}, {self.max_ratio}"
            )
        if self.no_repeat_ngram < 0 or not 0 <= self.min_length < self.max_length:
            raise UserError(
                f"no_repeat_ngram must be 0 or more, min_length from 0 to max_length - 1 (EOS counts there), but they "
                f"are {self.no_repeat_ngram} and {self.min_length}, and max_length is {self.max_length}"
            )
        if self.iterations is not None and self.iterations < 1:
            raise UserError(f"iterations must be 1 or more, but is {self.iterations}")
        if not math.isfinite(self.penalty):
            raise UserError(f"penalty must be a finite number, but is {self.penalty}")
        if self.rescoring_samples < 0:
            raise UserError(f"rescoring_samples must be 0 or more, but is {self.rescoring_samples}")
