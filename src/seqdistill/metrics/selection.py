"""Smoothed sentence BLEU and chrF for choosing among n-best hypotheses: plain Python, one cached reference, no arrays.

Both equal sacreBLEU's sentence scores (exponential smoothing and effective order for BLEU) of text in NFC, which a test
checks.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from unicodedata import normalize

from seqdistill.metrics.surface import CHRF_BETA, MAX_ORDER
from seqdistill.metrics.tokenizers import tokenizer

CHRF_ORDER = 6


def sentence_bleu(hypothesis: str, reference: str, *, tokenize: str = "13a") -> float:
    """BLEU of one sentence, 0 to 100, with exponential smoothing (Chen and Cherry 2014, method 3) and effective order.

    Orders longer than the hypothesis are left out; a hypothesis that shares no word with the reference scores 0.
    """
    words = _tokens(hypothesis, tokenize)
    reference_counts, reference_length = _reference_words(reference, tokenize)
    log_sum, halvings, orders = 0.0, 0, 0
    for order in range(1, min(MAX_ORDER, len(words)) + 1):
        counts = _ngrams(words, order)
        matches = sum(min(count, reference_counts.get(ngram, 0)) for ngram, count in counts.items())
        total = len(words) - order + 1
        if matches == 0:
            if order == 1:
                return 0.0
            halvings += 1
        log_sum += math.log(matches / total) if matches else -math.log(2**halvings * total)
        orders += 1
    if orders == 0:
        return 0.0
    return 100 * math.exp(log_sum / orders + min(0.0, 1 - reference_length / len(words)))


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """chrF of one sentence, 0 to 100: F2 of character n-grams up to 6, blanks left out (Popović 2015)."""
    characters = "".join(normalize("NFC", hypothesis).split())
    reference_counts, reference_length = _reference_characters(reference)
    precision, recall, orders = 0.0, 0.0, 0
    for order in range(1, CHRF_ORDER + 1):
        total, reference_total = len(characters) - order + 1, reference_length - order + 1
        if total <= 0 or reference_total <= 0:
            break
        counts = Counter([characters[i : i + order] for i in range(total)])
        matches = sum([min(count, reference_counts.get(ngram, 0)) for ngram, count in counts.items()])
        precision += matches / total
        recall += matches / reference_total
        orders += 1
    if precision == 0:
        return 0.0
    weight = CHRF_BETA**2
    return 100 * (1 + weight) * precision * recall / ((weight * precision + recall) * orders)


def _ngrams(words: tuple[str, ...], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(order)), strict=False))


def _tokens(text: str, tokenize: str) -> tuple[str, ...]:
    return tuple(tokenizer(tokenize)(normalize("NFC", text).rstrip()).split())


@lru_cache(maxsize=64)
def _reference_words(reference: str, tokenize: str) -> tuple[Counter[tuple[str, ...]], int]:
    words = _tokens(reference, tokenize)
    counts: Counter[tuple[str, ...]] = Counter()
    for order in range(1, MAX_ORDER + 1):
        counts.update(_ngrams(words, order))
    return counts, len(words)


@lru_cache(maxsize=64)
def _reference_characters(reference: str) -> tuple[Counter[str], int]:
    text = "".join(normalize("NFC", reference).split())
    counts: Counter[str] = Counter()
    for order in range(1, CHRF_ORDER + 1):
        counts.update([text[i : i + order] for i in range(len(text) - order + 1)])
    return counts, len(text)
