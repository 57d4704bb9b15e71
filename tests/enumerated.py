"""Outputs found by enumeration, by the rules' own words: what every decoder of small vocabularies must agree with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from seqdistill.decoding.given import NOTHING, Given
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS

VOCAB, EOS = 8, OURS.eos
WORDS = [5, 6, 7]
PREFIXES = [[6, 6], [], [7], [5, 5, 5], [6], [7, 5]]
ALLOWED = [[5, 6], [7], [], [5, 6, 7], [6, 6], [7, 5]]
RULES = [
    ({"no_repeat_ngram": 1}, NOTHING),
    ({"no_repeat_ngram": 2}, NOTHING),
    ({"min_length": 2}, NOTHING),
    ({}, Given(prefixes=PREFIXES)),
    ({}, Given(allowed=ALLOWED)),
    ({"no_repeat_ngram": 1, "min_length": 3}, Given(prefixes=PREFIXES, allowed=ALLOWED)),
]


def may_follow(
    written: Sequence[int], options: DecodingOptions, prefix: Sequence[int], allowed: Sequence[int] | None
) -> set:
    """The rules, word by word."""
    if len(written) < len(prefix):
        return {prefix[len(written)]}
    tokens = {*WORDS, EOS} if allowed is None else {*allowed, EOS}
    size = options.no_repeat_ngram
    if size:
        seen = {tuple(written[at : at + size]) for at in range(len(written) - size + 1)}
        tokens = {token for token in tokens if (*written, token)[-size:] not in seen}
    if len(written) < options.min_length:
        tokens -= {EOS}
    return tokens or {EOS}


def every_output(
    model: Any, source: torch.Tensor, options: DecodingOptions, given: Given, row: int
) -> list[tuple[float, tuple[int, ...]]]:
    """(score, words) of all outputs the rules allow, best first; log-probabilities over what may follow only."""
    prefix = given.prefixes[row] if given.prefixes else ()
    allowed = given.allowed[row] if given.allowed else None
    found = []

    def extend(written: tuple[int, ...], log_prob: float) -> None:
        if len(written) == options.max_length:
            found.append((log_prob / len(written) ** options.length_penalty, written))
            return
        tokens = sorted(may_follow(written, options, prefix, allowed))
        logits = model(source[row : row + 1], torch.tensor([[*written, EOS]]))[0, -1, tokens]
        for token, step in zip(tokens, logits.log_softmax(0).tolist(), strict=True):
            if token == EOS:
                found.append(((log_prob + step) / (len(written) + 1) ** options.length_penalty, written))
            else:
                extend((*written, token), log_prob + step)

    extend((), 0.0)
    return sorted(found, reverse=True)
