"""The table of metrics: BLEU, chrF, TER, ROUGE, RIBES, METEOR, BEER and COMET behind one interface."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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

__all__ = [
    "METRICS",
    "Metric",
    "MetricOptions",
    "Score",
    "check_name",
    "create_metric",
    "sentence_bleu",
    "sentence_chrf",
]

TOKENIZERS = tuple(BLEU.TOKENIZERS)
MULTIPLE = ("bleu", "chrf", "chrf++", "ter")
"""Metrics that know what to do with several references of a line."""


@dataclass(frozen=True)
class MetricOptions:
    """Options of metrics; each metric reads those it needs and prints them in its signature.

    Args:
        lowercase: ignore case in BLEU, chrF and BEER. TER, ROUGE, RIBES and METEOR always do, as their programs;
            COMET never does.
        tokenize: sacreBLEU's tokeniser for BLEU and RIBES. None: 13a, or the language's own, for BLEU; for RIBES words
            as they stand. The other metrics define their own.
        language: of the references, as a two-letter code; METEOR needs it, BLEU and ROUGE use it.
        stem: Porter stemming in ROUGE, as `ROUGE-1.5.5.pl -m`; English only.
        sources: source lines, which COMET needs.
        comet_model: name of a COMET model, or the path of a checkpoint.
        comet_gpus: devices for COMET; 0 is the CPU.
        beer_home: folder of the user's own installation of BEER.
        num_references: the most references of a line, for the metrics in MULTIPLE; each line then holds its references
            with tabs between them.
    """

    lowercase: bool = False
    tokenize: str | None = None
    language: str = ""
    stem: bool = False
    sources: Sequence[str] | None = None
    comet_model: str = "Unbabel/wmt22-comet-da"
    comet_gpus: int = 0
    beer_home: Path | None = None
    num_references: int = 1


METRICS: dict[str, Callable[[MetricOptions], Metric]] = {
    "bleu": lambda o: surface.bleu(
        lowercase=o.lowercase, tokenize=o.tokenize, language=o.language, num_references=o.num_references
    ),
    "chrf": lambda o: surface.chrf("chrf", lowercase=o.lowercase, word_order=0, num_references=o.num_references),
    "chrf++": lambda o: surface.chrf("chrf++", lowercase=o.lowercase, word_order=2, num_references=o.num_references),
    "ter": lambda o: surface.ter(num_references=o.num_references),
    "rouge1": lambda o: rouge("rouge1", language=o.language, stem=o.stem),
    "rouge2": lambda o: rouge("rouge2", language=o.language, stem=o.stem),
    "rougeL": lambda o: rouge("rougeL", language=o.language, stem=o.stem),
    "ribes": lambda o: ribes_metric(tokenize=o.tokenize),
    "meteor": lambda o: meteor(o.language),
    "beer": lambda o: beer(o.beer_home, lowercase=o.lowercase),
    "comet": lambda o: comet(o.comet_model, o.sources, gpus=o.comet_gpus),
}


def check_name(name: str) -> None:
    """Raises UserError where no metric has this name; names the nearest."""
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}{_nearest(name, METRICS)}; choose from {', '.join(METRICS)}")


def create_metric(name: str, options: MetricOptions | None = None) -> Metric:
    """Makes a metric by its name in METRICS.

    Raises:
        UserError: an unknown name or tokeniser (with the nearest valid one), or options the metric cannot work with.
    """
    check_name(name)
    options = options or MetricOptions()
    if options.num_references > 1 and name not in MULTIPLE:
        raise UserError(
            f"{name} compares with one reference a line, but there are up to {options.num_references}; "
            f"take {', '.join(MULTIPLE)}, or give one reference"
        )
    if options.tokenize is not None and options.tokenize not in TOKENIZERS:
        raise UserError(
            f"unknown tokeniser {options.tokenize!r}{_nearest(options.tokenize, TOKENIZERS)}; "
            f"sacreBLEU has {', '.join(TOKENIZERS)}"
        )
    return METRICS[name](options)


def _nearest(name: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(valid), n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""
