"""The table of metrics: BLEU, chrF, TER, ROUGE, RIBES, METEOR, BEER and COMET behind one interface."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqdistill.errors import UserError
from seqdistill.metrics import surface
from seqdistill.metrics.metric import Metric, Score
from seqdistill.metrics.selection import sentence_bleu, sentence_chrf

__all__ = ["METRICS", "Metric", "MetricOptions", "Score", "create_metric", "sentence_bleu", "sentence_chrf"]

TOKENIZERS = tuple(surface.sacrebleu.BLEU.TOKENIZERS)


@dataclass(frozen=True)
class MetricOptions:
    """What a metric may be told; each one reads what concerns it and prints it in its signature.

    Args:
        lowercase: ignore case in BLEU, chrF, RIBES and BEER (TER, ROUGE and METEOR always do).
        tokenize: sacreBLEU's tokeniser for BLEU and RIBES; None is 13a (or the language's own) for BLEU and none for RIBES,
            whose definition takes words as they stand. The other metrics define their own.
        language: of the references, as a two-letter code; METEOR needs it, BLEU and ROUGE use it.
        stem: Porter stemming in ROUGE, as `ROUGE-1.5.5.pl -m`; English only.
        beer_home: folder of the user's own installation of BEER.
        comet_model: name of a COMET model, or the path of a checkpoint.
        sources: source lines, which COMET needs.
    """

    lowercase: bool = False
    tokenize: str | None = None
    language: str = ""
    stem: bool = False
    beer_home: Path | None = None
    comet_model: str = "Unbabel/wmt22-comet-da"
    sources: Sequence[str] | None = None


def _bleu(options: MetricOptions) -> Metric:
    return surface.bleu(lowercase=options.lowercase, tokenize=options.tokenize, language=options.language)


METRICS: dict[str, Callable[[MetricOptions], Metric]] = {
    "bleu": _bleu,
    "chrf": lambda options: surface.chrf("chrf", lowercase=options.lowercase, word_order=0),
    "chrf++": lambda options: surface.chrf("chrf++", lowercase=options.lowercase, word_order=2),
    "ter": lambda _: surface.ter(),
}


def create_metric(name: str, options: MetricOptions | None = None) -> Metric:
    """Makes a metric by its name in METRICS.

    Raises:
        UserError: an unknown name or tokeniser (with the nearest valid one), or options the metric cannot work with.
    """
    options = options or MetricOptions()
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}{_nearest(name, METRICS)}; choose from {', '.join(METRICS)}")
    if options.tokenize is not None and options.tokenize not in TOKENIZERS:
        raise UserError(
            f"unknown tokeniser {options.tokenize!r}{_nearest(options.tokenize, TOKENIZERS)}; "
            f"sacreBLEU has {', '.join(TOKENIZERS)}"
        )
    return METRICS[name](options)


def _nearest(name: str, valid: Sequence[str] | dict[str, object]) -> str:
    close = difflib.get_close_matches(name.lower(), list(valid), n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""
