"""`study decision-theory`: random HMMs, students of two kinds of distilled data, and which wins in what."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from seqdistill.options import DecisionTheoryOptions
from seqdistill.progress import Progress
from seqdistill.studies import decision_theory


def check(settings: DecisionTheoryOptions) -> None:
    """Raises UserError for values that do not make a study."""
    decision_theory.check(_design(settings))


def study(settings: DecisionTheoryOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes hmms/*.json and study.json; see `seqdistill.studies.decision_theory.run`.

    Raises:
        UserError: values that do not make a study.
    """
    return decision_theory.run(_design(settings), out, progress, workers=settings.workers)


def _design(settings: DecisionTheoryOptions) -> decision_theory.Design:
    names = [field.name for field in fields(decision_theory.Design)]
    return decision_theory.Design(**{name: getattr(settings, name) for name in names})
