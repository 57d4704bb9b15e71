"""BLEU, chrF and TER by sacreBLEU (Post 2018), aggregated for many samples at once.

The corpus value is sacreBLEU's own; `aggregate` computes the same formula for all bootstrap samples in one array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sacrebleu
from jaxtyping import Float

from seqdistill.metrics.metric import SEPARATOR, Score, check_parallel
from seqdistill.metrics.tokenizers import bleu_program

MAX_ORDER = 4
CHRF_BETA = 2


@dataclass(frozen=True)
class SacreMetric:
    """One of sacreBLEU's metrics.

    Args:
        program: sacreBLEU's metric object.
        aggregate_rows: corpus values from sums of the program's statistics (samples, statistics).
        sentence_rows: sentence values from the statistics of each sentence.
        num_references: the most references of a line; above 1 a line is split at SEPARATOR.
        split: applied to every line before the program sees it.
    """

    name: str
    program: sacrebleu.BLEU | sacrebleu.CHRF | sacrebleu.TER
    aggregate_rows: Callable[[np.ndarray], np.ndarray]
    sentence_rows: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool = True
    num_references: int = 1
    split: Callable[[str], str] | None = None

    @property
    def signature(self) -> str:
        self.program.num_refs = self.num_references  # sacreBLEU knows it only once it has scored
        split = f"|words:{self.split.__name__}" if self.split else ""
        return self.program.get_signature().format() + split

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
        check_parallel(hypotheses, references)
        value = self.program.corpus_score(self._words(hypotheses), self._streams(references)).score
        return Score(self.name, float(value), self.signature)

    def sentences(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return self.sentence_rows(self.statistics(hypotheses, references)).tolist()

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "sentences statistics"]:
        check_parallel(hypotheses, references)
        rows = self.program._extract_corpus_statistics(self._words(hypotheses), self._streams(references))
        return np.asarray(rows, dtype=np.float64)

    def aggregate(self, sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
        return self.aggregate_rows(sums)

    def _words(self, lines: Sequence[str]) -> list[str]:
        return [*map(self.split, lines)] if self.split else list(lines)

    def _streams(self, references: Sequence[str]) -> list[Any]:
        """The first reference of every line, the second of every line, and so on; None where a line has no more."""
        if self.num_references == 1:
            return [self._words(references)]
        rows = [self._words(line.split(SEPARATOR, self.num_references - 1)) for line in references]
        return [[row[at] if at < len(row) else None for row in rows] for at in range(max(map(len, rows)))]


def bleu(*, lowercase: bool, tokenize: str, num_references: int = 1) -> SacreMetric:
    """BLEU (Papineni et al. 2002), 0 to 100; sentences with exponential smoothing and effective order."""
    program = bleu_program(tokenize, lowercase=lowercase)
    return SacreMetric("bleu", program, corpus_bleu_rows, sentence_bleu_rows, num_references=num_references)


def chrf(name: str, *, lowercase: bool, word_order: int, num_references: int = 1) -> SacreMetric:
    """chrF (Popović 2015), 0 to 100; with word_order 2 it is chrF++ (Popović 2017)."""
    program = sacrebleu.CHRF(lowercase=lowercase, word_order=word_order)
    return SacreMetric(name, program, chrf_rows, chrf_rows, num_references=num_references)


TER_WORDS = ("tercom", "asian", "char")
"""What TER counts: words between blanks as tercom does, tercom's words of Chinese and Japanese, or every character."""


def ter(words: str = "tercom", *, num_references: int = 1) -> SacreMetric:
    """Translation edit rate (Snover et al. 2006), percent of reference words, without regard to case as tercom does.

    Args:
        words: one of TER_WORDS.
    """
    split = characters if words == "char" else None
    assert words in TER_WORDS
    program = sacrebleu.TER(normalized=words == "asian", asian_support=words == "asian")
    return SacreMetric(
        "ter", program, ter_rows, ter_rows, higher_is_better=False, num_references=num_references, split=split
    )


def characters(line: str) -> str:
    """Every character of a line between blanks.

    >>> characters("ab c")
    'a b c'
    """
    return " ".join("".join(line.split()))


def corpus_bleu_rows(rows: Float[np.ndarray, "rows statistics"]) -> Float[np.ndarray, " rows"]:
    """BLEU from (hypothesis length, reference length, 4 matches, 4 totals), exponentially smoothed."""
    return _bleu_rows(rows, effective_order=False)


def sentence_bleu_rows(rows: Float[np.ndarray, "rows statistics"]) -> Float[np.ndarray, " rows"]:
    """The same, with the orders above the hypothesis' length left out of the mean."""
    return _bleu_rows(rows, effective_order=True)


def _bleu_rows(rows: np.ndarray, *, effective_order: bool) -> np.ndarray:
    hypothesis_length, reference_length = rows[:, 0], rows[:, 1]
    matches, totals = rows[:, 2 : 2 + MAX_ORDER], rows[:, 2 + MAX_ORDER :]
    halvings = np.cumsum(matches == 0, axis=1)  # the k-th order without a match counts as 2^-k matches
    smoothed = np.where(matches == 0, 0.5**halvings, matches)
    present = totals > 0
    log_precision = np.log(np.where(present, smoothed / np.maximum(totals, 1), 1.0))
    orders = present.sum(axis=1) if effective_order else np.where(present.all(axis=1), MAX_ORDER, np.inf)
    mean = log_precision.sum(axis=1) / np.maximum(orders, 1)
    shortfall = np.minimum(0.0, 1 - reference_length / np.maximum(hypothesis_length, 1))
    scored = matches.any(axis=1) & np.isfinite(orders)
    return np.where(scored, 100 * np.exp(mean + shortfall), 0.0)


def chrf_rows(rows: Float[np.ndarray, "rows statistics"]) -> Float[np.ndarray, " rows"]:
    """chrF from (hypothesis, reference, matching) counts of each order: F of the precisions' and recalls' means."""
    counts = rows.reshape(len(rows), -1, 3)
    hypothesis, reference, matching = counts[..., 0], counts[..., 1], counts[..., 2]
    present = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(present.sum(axis=1), 1)
    precision = np.where(present, matching / np.maximum(hypothesis, 1), 0.0).sum(axis=1) / orders
    recall = np.where(present, matching / np.maximum(reference, 1), 0.0).sum(axis=1) / orders
    weighted = CHRF_BETA**2 * precision + recall
    return 100 * (1 + CHRF_BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1.0)


def ter_rows(rows: Float[np.ndarray, "rows statistics"]) -> Float[np.ndarray, " rows"]:
    """TER from (edits, reference length); an empty reference costs 100 unless nothing was to be done."""
    edits, length = rows[:, 0], rows[:, 1]
    return 100 * np.where(length > 0, edits / np.maximum(length, 1), np.minimum(edits, 1.0))
