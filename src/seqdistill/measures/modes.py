"""In which languages is an output? Posteriors of languages from unigram models (Zhou et al. 2020, section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.errors import UserError
from seqdistill.measures.tokenizers import WordTokenizer
from seqdistill.metrics.significance import Share, share
from seqdistill.text.letters import has_letter


@dataclass(frozen=True)
class LanguageModels:
    """Unigram models p(word | language) over the words of all the languages' texts.

    Words are those with a letter: punctuation and numbers, which every language shares, would draw all to the centre.

    Args:
        counts: how often each word occurs in each language's text.
        smoothing: added to every count: p(y | l) = (counts[l, y] + smoothing) / (words of l + smoothing * vocabulary).
        tokenizer: what splits texts and outputs into words.
    """

    languages: tuple[str, ...]
    vocabulary: Mapping[str, int]
    counts: Int[np.ndarray, "languages words"]
    smoothing: float
    tokenizer: WordTokenizer

    @property
    def signature(self) -> str:
        """Languages, words, smoothing, and what an unknown word says."""
        names = "+".join(self.languages)
        return f"{self.tokenizer.signature}|letters|languages:{names}|unigram:add-{self.smoothing:g}|unknown:uniform"

    def word_posteriors(self) -> Float[np.ndarray, "words languages"]:
        """p(language | word) of every word under a uniform prior: p(y | l) / sum_k p(y | k), equation 2."""
        counts = self.counts + self.smoothing
        # (languages, words): p(y | l), each row sums to 1; then by column p(l | y), each word sums to 1.
        chances = counts / counts.sum(axis=1, keepdims=True)
        return (chances / chances.sum(axis=0)).T

    def posteriors(self, lines: Iterable[str]) -> Posteriors:
        """The posterior of every language for every line: the mean of those of its words.

        A word in no language's text says nothing: its posterior is uniform, as the prior. (Smoothed counts alone would
        have it speak for the language with the shortest text.)
        """
        by_word, uniform = self.word_posteriors(), np.full(len(self.languages), 1 / len(self.languages))
        values, num_words, num_unknown = [], [], []
        for line in lines:
            words = _words(line, self.tokenizer)
            known = [self.vocabulary[word] for word in words if word in self.vocabulary]
            unknown = len(words) - len(known)
            # (known, languages) -> (languages); each unknown word adds the prior.
            total = by_word[known].sum(axis=0) + unknown * uniform
            values.append(total / len(words) if words else np.full(len(uniform), np.nan))
            num_words.append(len(words))
            num_unknown.append(unknown)
        shape = len(values), len(self.languages)
        return Posteriors(np.array(values).reshape(shape), np.array(num_words, int), np.array(num_unknown, int))


class Posteriors(NamedTuple):
    """Language posteriors of outputs.

    Args:
        values: p(language | line); each line sums to 1. NaN where a line has no word.
        num_words, num_unknown: words of each line, and those that are in no language's text.
    """

    values: Float[np.ndarray, "lines languages"]
    num_words: Int[np.ndarray, " lines"]
    num_unknown: Int[np.ndarray, " lines"]

    def with_words(self) -> Float[np.ndarray, "written languages"]:
        """The posteriors of the lines that have a word."""
        return self.values[self.num_words > 0]


def language_models(
    texts: Mapping[str, Iterable[str]], tokenizer: WordTokenizer, *, smoothing: float
) -> LanguageModels:
    """Counts the words of each language's text.

    Args:
        texts: lines of each language, by its name.
        tokenizer: one for all, as the language of an output is not known.

    Raises:
        UserError: less than two languages, a text without any word, or a smoothing that is not above 0.
    """
    if len(texts) < 2:
        raise UserError(
            f"{len(texts)} language ({', '.join(texts) or 'none'}): expected two or more to tell apart; give the text "
            "of each, as de=FILE"
        )
    if not smoothing > 0:
        raise UserError(f"smoothing = {smoothing}: expected a number above 0, such as 0.01")
    counted = {language: _count(lines, tokenizer) for language, lines in texts.items()}
    for language, words in counted.items():
        if not words:
            raise UserError(f"language {language}: its text has no words; give some in that language")
    vocabulary = {word: number for number, word in enumerate(sorted(set().union(*counted.values())))}
    counts = np.zeros((len(texts), len(vocabulary)), dtype=np.int64)
    for row, words in enumerate(counted.values()):
        counts[row, [vocabulary[word] for word in words]] = list(words.values())
    return LanguageModels(tuple(texts), vocabulary, counts, smoothing, tokenizer)


def _count(lines: Iterable[str], tokenizer: WordTokenizer) -> Counter[str]:
    words: Counter[str] = Counter()
    for line in lines:
        words.update(_words(line, tokenizer))
    return words


def _words(line: str, tokenizer: WordTokenizer) -> list[str]:
    return [word for word in tokenizer.split(line) if has_letter(word)]


class SingleLanguage(NamedTuple):
    """Outputs written in one language alone.

    Args:
        threshold: a posterior above it counts.
        share: of the outputs that have words, in percent, with its 95 % interval (Wilson).
        by_language: how many outputs are in each language.
    """

    threshold: float
    share: Share
    by_language: dict[str, int]


def halfway(num_languages: int) -> float:
    """The middle between the uniform posterior, the centre of the simplex, and certainty, a corner of it."""
    return (1 + 1 / num_languages) / 2


def single_language(
    posteriors: Posteriors, languages: Sequence[str], *, threshold: float | None = None
) -> SingleLanguage:
    """Counts the outputs of which one language's posterior lies above the threshold; None: `halfway`.

    Raises:
        UserError: no output has a word, or two languages could pass the threshold.
    """
    threshold = halfway(len(languages)) if threshold is None else threshold
    if not 0.5 <= threshold < 1:
        raise UserError(
            f"threshold {threshold}: expected 0.5 or more, so that no output is in two languages, and less than 1"
        )
    written = posteriors.with_words()
    if not len(written):
        raise UserError("none of the outputs has a word; give the outputs of a model that writes")
    passed = (written > threshold).sum(axis=0).tolist()
    return SingleLanguage(threshold, share(sum(passed), len(written)), dict(zip(languages, passed, strict=True)))
