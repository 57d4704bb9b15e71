"""The table of metrics: BLEU, chrF, TER, ROUGE, RIBES, METEOR, BEER and COMET behind one interface."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sacrebleu import BLEU

from seqdistill.errors import UserError
from seqdistill.metrics import surface
from seqdistill.metrics.beer import beer
from seqdistill.metrics.comet import comet
from seqdistill.metrics.meteor import meteor
from seqdistill.metrics.metric import Metric, Score
from seqdistill.metrics.ribes import ribes_metric
from seqdistill.metrics.rouge import rouge
from seqdistill.metrics.selection import sentence_bleu, sentence_chrf
from seqdistill.options import MetricOptions

__all__ = [
    "METRICS",
    "Metric",
    "Score",
    "check_name",
    "create_metric",
    "sentence_bleu",
    "sentence_chrf",
]

TOKENIZERS = tuple(BLEU.TOKENIZERS)
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
        lowercase=o.lowercase, tokenize=o.tokenize, language=o.target_language, num_references=text.num_references
    ),
    "chrf": lambda o, text: surface.chrf(
        "chrf", lowercase=o.lowercase, word_order=0, num_references=text.num_references
    ),
    "chrf++": lambda o, text: surface.chrf(
        "chrf++", lowercase=o.lowercase, word_order=2, num_references=text.num_references
    ),
    "ter": lambda _, text: surface.ter(num_references=text.num_references),
    "rouge1": lambda o, _: rouge("rouge1", language=o.target_language, stem=o.stem),
    "rouge2": lambda o, _: rouge("rouge2", language=o.target_language, stem=o.stem),
    "rougeL": lambda o, _: rouge("rougeL", language=o.target_language, stem=o.stem),
    "ribes": lambda o, _: ribes_metric(tokenize=o.tokenize),
    "meteor": lambda o, _: meteor(o.target_language),
    "beer": lambda o, _: beer(o.beer_home, lowercase=o.lowercase),
    "comet": lambda o, text: comet(o.comet_model, text.sources, gpus=o.comet_gpus),
}


def check_name(name: str) -> None:
    """Raises UserError where no metric has this name; names the nearest."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}{_nearest(name, METRICS)}; choose from {', '.join(METRICS)}")


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
    if options.tokenize is not None and options.tokenize not in TOKENIZERS:
        raise UserError(
            f"unknown tokeniser {options.tokenize!r}{_nearest(options.tokenize, TOKENIZERS)}; "
            f"sacreBLEU has {', '.join(TOKENIZERS)}"
        )
    return METRICS[name](options, Text(sources, num_references))


def _nearest(name: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(valid), n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""
