"""RIBES (Isozaki et al. 2010) by the rules of the official program, RIBES.py 1.03.1, whose values it reproduces."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seqdistill.metrics.metric import SentenceMean
from seqdistill.metrics.tokenizers import tokenizer

ALPHA, BETA = 0.25, 0.10


def ribes_metric(*, tokenize: str | None) -> SentenceMean:
    """Mean sentence RIBES, 0 to 1, case ignored, which is the official program's default.

    Args:
        tokenize: one of sacreBLEU's tokenisers; None takes words as they stand between blanks, as the program does.

    Raises:
        UserError: a tokeniser that needs what is not installed.
    """
    split = tokenizer(tokenize or "none")

    def words(text: str) -> list[str]:
        return split(text.rstrip()).lower().split()

    def score_sentences(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        pairs = zip(hypotheses, references, strict=True)
        return [ribes(words(hypothesis), words(reference)) for hypothesis, reference in pairs]

    signature = f"case:lc|tok:{tokenize or 'none'}|alpha:{ALPHA}|beta:{BETA}|version:as-RIBES.py-1.03.1"
    return SentenceMean("ribes", signature, score_sentences)


def ribes(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """Normalised Kendall's tau of the words both share, times precision^ALPHA times brevity penalty^BETA; from 0 to 1.

    An empty reference or hypothesis scores 0 (the official program's `--emptyref`).
    """
    if not hypothesis or not reference:
        return 0.0
    ranks = aligned_positions(hypothesis, reference)
    precision = len(ranks) / len(hypothesis)
    brevity = min(1.0, math.exp(1 - len(reference) / len(hypothesis)))
    return normalized_tau(ranks, len(reference)) * precision**ALPHA * brevity**BETA


def normalized_tau(ranks: Sequence[int], reference_length: int) -> float:
    """Share of ascending pairs of ranks, (tau + 1) / 2; one rank is 1 for a reference of one word, else 0."""
    if len(ranks) < 2:
        return float(len(ranks) == 1 and reference_length == 1)
    pairs = len(ranks) * (len(ranks) - 1) // 2
    ascending = sum(left < right for i, left in enumerate(ranks) for right in ranks[i + 1 :])
    return ascending / pairs


def aligned_positions(hypothesis: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Reference positions of the hypothesis words that can be placed without doubt, in hypothesis order.

    A word that occurs once on both sides is placed at once. Any other one is widened by its context, one word more at a
    time, first to the left and then to the right, until the n-gram occurs exactly once on both sides; without such an
    n-gram the word is left out.

    "the" occurs twice; with the word to its right each is found, "the a" at 0 and "the b" at 2:

        >>> aligned_positions("the b the a".split(), "the a the b".split())
        [2, 3, 0, 1]
    """
    # Each word becomes one character of a private range, so that n-grams are substrings and str.find looks for them.
    numbers = {word: chr(index) for index, word in enumerate(dict.fromkeys([*reference, *hypothesis]), start=0xF0000)}
    hypothesis_text, reference_text = ("".join(numbers[word] for word in words) for words in (hypothesis, reference))
    positions = []
    for i, word in enumerate(hypothesis_text):
        if hypothesis_text.count(word) == 1 == reference_text.count(word):
            positions.append(reference_text.index(word))
        elif word in reference_text:
            positions += _position_by_context(i, hypothesis_text, reference_text)
    return positions


def _position_by_context(i: int, hypothesis: str, reference: str) -> list[int]:
    """Where the reference has the hypothesis word i, or nothing; texts hold one character per word."""
    for width in range(1, max(i, len(hypothesis) - i) + 1):
        left, right = hypothesis[max(i - width, 0) : i + 1], hypothesis[i : i + width + 1]
        for ngram, offset in ((left, width), (right, 0)):
            unique = all(text.find(ngram) == text.rfind(ngram) != -1 for text in (hypothesis, reference))
            if len(ngram) == width + 1 and unique:
                return [reference.index(ngram) + offset]
    return []
