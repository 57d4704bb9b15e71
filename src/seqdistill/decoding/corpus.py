"""From lines of text to hypotheses in text: what every engine does, and our own engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from seqdistill.decoding.decode import decode
from seqdistill.decoding.hypothesis import DecodingOptions, Hypothesis
from seqdistill.text.tokenizer import EOS, PAD, Tokenizers


class TextHypothesis(NamedTuple):
    """One output as text."""

    text: str
    log_prob: float
    """Natural log-probability of its tokens, and of EOS if it was finished by it."""
    score: float
    """log_prob / length ** length_penalty, the length counting EOS."""


class Engine(Protocol):
    """Decodes text with one model; engines differ in speed, not in their rules."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What decides its output: engine, model, precision; JSON-able."""
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


EMPTY = TextHypothesis("", 0.0, 0.0)
"""The only hypothesis of a line without words."""


class NativeEngine:
    """Our own decoder: any model, any device.

    Lines are sorted by length and decoded in batches of at most `max_tokens` source tokens times hypotheses, longest
    first (so a batch that does not fit into memory fails at once).
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizers: Tokenizers,
        *,
        max_tokens: int = 8192,
        device: str | torch.device = "cpu",
        fingerprint: str = "",
    ):
        self.model = model.to(device)
        self.tokenizers = tokenizers
        self.max_tokens = max_tokens
        self.device = torch.device(device)
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> dict[str, Any]:
        return {"engine": "native", "model": self._fingerprint, "precision": "float32"}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        ids = self.tokenizers.source.encode_batch(sources)
        numbers = range(len(ids)) if line_numbers is None else line_numbers
        results = [[EMPTY]] * len(ids)
        for lines in length_batches(ids, self.max_tokens // (options.n_best if options.sampling else options.beam)):
            source = padded_sources([ids[line] for line in lines]).to(self.device)
            seeds = torch.tensor([numbers[line] for line in lines])
            found = decode(self.model, source, options, seeds=seeds)
            for line, hypotheses in zip(lines, found, strict=True):
                results[line] = self._texts(hypotheses)
        return results

    def _texts(self, hypotheses: Sequence[Hypothesis]) -> list[TextHypothesis]:
        texts = self.tokenizers.target.decode_batch([list(hypothesis.tokens) for hypothesis in hypotheses])
        return [TextHypothesis(text, h.log_prob, h.score) for text, h in zip(texts, hypotheses, strict=True)]


def length_batches(ids: Sequence[Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Line numbers of the sources that have words, in batches of similar length, longest first.

    A batch holds at most `max_tokens` tokens counting EOS and padding, or one line.
    """
    order = sorted((line for line in range(len(ids)) if ids[line]), key=lambda line: (-len(ids[line]), line))
    batch: list[int] = []
    for line in order:
        if batch and (len(batch) + 1) * (len(ids[batch[0]]) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch


def padded_sources(ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """One row a sentence, EOS appended, right-padded with PAD; shape (len(ids), longest + 1)."""
    rows = torch.full((len(ids), max(map(len, ids)) + 1), PAD)
    for row, words in zip(rows, ids, strict=True):
        row[: len(words) + 1] = torch.tensor([*words, EOS])
    return rows
