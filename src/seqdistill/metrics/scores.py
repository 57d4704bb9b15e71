"""The table of metrics: BLEU, chrF, TER, ROUGE, RIBES, METEOR, BEER and COMET behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.metrics import surface
from seqdistill.metrics.beer import beer
from seqdistill.metrics.comet import comet
from seqdistill.metrics.meteor import meteor
from seqdistill.metrics.metric import Composed, Metric, Score
from seqdistill.metrics.ribes import ribes_metric
from seqdistill.metrics.rouge import rouge
from seqdistill.metrics.selection import sentence_bleu, sentence_chrf
from seqdistill.metrics.tokenizers import check_tokenizer, closest, scored_words
from seqdistill.options import MetricOptions
from seqdistill.text.languages import base_code, words_of

__all__ = [
    "METRICS",
    "Metric",
    "Score",
    "check_name",
    "create_metric",
    "sentence_bleu",
    "sentence_chrf",
]

MULTIPLE = ("bleu", "chrf", "chrf++", "ter")
"""Metrics that know what to do with several references of a line."""


class Text(NamedTuple):
    """What a metric needs to know of the text, besides hypotheses and references."""

    sources: Sequence[str] | None
    """Source lines, which COMET needs."""
    num_references: int
    """The most references of a line, for the metrics in MULTIPLE; each line holds its own with tabs between them."""


METRICS: dict[str, Callable[[MetricOptions, Text], Metric]] = {
    "bleu": lambda o, text: surface.bleu(
        lowercase=o.lowercase, tokenize=scored_words(o), num_references=text.num_references
    ),
    "chrf": lambda o, text: surface.chrf(
        "chrf", lowercase=o.lowercase, word_order=0, num_references=text.num_references
    ),
    "chrf++": lambda o, text: surface.chrf(
        "chrf++", lowercase=o.lowercase, word_order=2, num_references=text.num_references
    ),
    "ter": lambda o, text: surface.ter(_ter_words(o), num_references=text.num_references),
    "rouge1": lambda o, _: rouge("rouge1", language=base_code(o.target_language), stem=o.stem),
    "rouge2": lambda o, _: rouge("rouge2", language=base_code(o.target_language), stem=o.stem),
    "rougeL": lambda o, _: rouge("rougeL", language=base_code(o.target_language), stem=o.stem),
    "ribes": lambda o, _: ribes_metric(tokenize=_ribes_words(o)),
    "meteor": lambda o, _: meteor(base_code(o.target_language)),
    "beer": lambda o, _: beer(o.beer_home, lowercase=o.lowercase),
    "comet": lambda o, text: comet(o.comet_model, text.sources, gpus=o.comet_gpus),
}


def check_name(name: str) -> None:
    """Raises UserError where no metric has this name; names the nearest."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}{closest(name, METRICS)}; choose from {', '.join(METRICS)}")


def create_metric(
    name: str,
    options: MetricOptions | None = None,
    *,
    sources: Sequence[str] | None = None,
    num_references: int = 1,
) -> Metric:
    """Makes a metric by its name in METRICS.

    Args:
        sources: source lines, which COMET needs.
        num_references: the most references of a line, which then stand on it with tabs between them.

    Raises:
        UserError: an unknown name or tokeniser (with the nearest valid one), or options the metric cannot work with.
    """
    check_name(name)
    options = options or MetricOptions()
    if num_references > 1 and name not in MULTIPLE:
        raise UserError(
            f"{name} compares with one reference a line, but there are up to {num_references}; "
            f"take {', '.join(MULTIPLE)}, or give one reference"
        )
    if options.tokenize is not None:
        check_tokenizer(options.tokenize)
    return Composed(METRICS[name](options, Text(sources, num_references)))


def _ter_words(options: MetricOptions) -> str:
    """As BLEU's words: by the language or, where none is given, by the tokeniser."""
    by_tokenizer = {"zh": "asian", "ja-mecab": "asian", "char": "char"}
    return (
        words_of(options.target_language).ter
        if options.target_language
        else by_tokenizer.get(options.tokenize or "", "tercom")
    )


def _ribes_words(options: MetricOptions) -> str | None:
    """What stands between blanks, as the program has it, unless the language has none."""
    words = words_of(options.target_language)
    return options.tokenize or (None if words.spaced else words.bleu)
