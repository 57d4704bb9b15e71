"""`compare`: two outputs of the same text, and whether their difference holds."""

from __future__ import annotations

from pathlib import Path

from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import Comparison, compare
from seqdistill.options import CompareOptions
from seqdistill.text.lines import read_lines


def compare_files(settings: CompareOptions, a: Path, b: Path) -> list[Comparison]:
    """Paired bootstrap resampling (Koehn, 2004) of B against A, for every metric asked for.

    Raises:
        UserError: files of different length, unreadable text, an unknown metric.
    """
    baseline, system, references = (list(read_lines(path)) for path in (a, b, settings.reference))
    sources = list(read_lines(settings.source)) if settings.source else None
    options = settings.metric_options(
        lowercase=settings.lowercase, sources=sources, num_references=settings.num_references
    )
    return [
        compare(
            create_metric(name, options),
            baseline,
            system,
            references,
            num_samples=settings.samples,
            seed=settings.seed,
        )
        for name in settings.metric_names
    ]
