"""Distill sequence-to-sequence models: from a large teacher to the best small student for a latency budget."""

from __future__ import annotations

from importlib import import_module

from seqdistill.threads import spin_briefly

TYPE_CHECKING = False  # as in typing, whose import takes longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from seqdistill.api import (
        Translator,
        bench,
        compare,
        decision_theory,
        distill,
        evaluate,
        export,
        measure,
        modes,
        prepare,
        report,
        run,
        train,
        tune_penalty,
    )
    from seqdistill.errors import UserError
    from seqdistill.loading import load

__version__ = "0.1.0"

__all__ = [
    "Translator",
    "UserError",
    "bench",
    "compare",
    "decision_theory",
    "distill",
    "evaluate",
    "export",
    "load",
    "measure",
    "modes",
    "prepare",
    "report",
    "run",
    "train",
    "tune_penalty",
]

spin_briefly()  # before anything here imports torch


def __getattr__(name: str) -> Any:
    """What __all__ names is imported when it is first asked for: torch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'seqdistill' has no attribute {name!r}")
    where = {"UserError": "seqdistill.errors", "load": "seqdistill.loading"}.get(name, "seqdistill.api")
    return getattr(import_module(where), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
