"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) by the package rouge-score, with words that are right for any language."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from seqdistill.errors import UserError
from seqdistill.metrics.metric import SentenceMean
from seqdistill.text.letters import words


class UnicodeWords(Tokenizer):
    """The words of `text.letters`, of any script; on ASCII text the same words as rouge-score's own.

    rouge-score's tokeniser keeps a-z and 0-9 only, which cuts German words at each umlaut and deletes Russian.
    """

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def rouge(name: str, *, language: str, stem: bool) -> SentenceMean:
    """Mean F1 of one kind of ROUGE, 0 to 100, case ignored.

    Args:
        name: rouge1, rouge2 or rougeL.
        language: `en` takes rouge-score's own tokeniser, anything else UnicodeWords.
        stem: Porter stemming of words, which is for English.

    Raises:
        UserError: stemming for another language.
    """
    if stem and language != "en":
        raise UserError(
            f"ROUGE's stemmer is for English, but the language is {language or 'not given'!r}; "
            "give language 'en', or leave stemming off"
        )
    english = language == "en"
    scorer = RougeScorer([name], use_stemmer=stem, tokenizer=None if english else UnicodeWords())

    def score_sentences(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        pairs = zip(hypotheses, references, strict=True)
        return [100 * scorer.score(reference, hypothesis)[name].fmeasure for hypothesis, reference in pairs]

    version = importlib.metadata.version("rouge-score")
    tokenizer = "rouge-score" if english else "unicode-words+unspaced-letters"
    signature = f"f1|case:lc|tok:{tokenizer}|stem:{'porter' if stem else 'no'}|scale:100|version:rouge-score-{version}"
    return SentenceMean(name, signature, score_sentences)
