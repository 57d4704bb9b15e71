"""The options of every verb, once: command line, recipes and Python read these same names, types and defaults."""

from seqdistill.options.base import Options
from seqdistill.options.learning import PrepareOptions, TrainOptions
from seqdistill.options.measuring import DecisionTheoryOptions, MeasureOptions, ModesOptions, ReportOptions
from seqdistill.options.writing import (
    CompareOptions,
    DecodingSettings,
    DistillOptions,
    EvaluateOptions,
    ScoringOptions,
    TranslateOptions,
    TunePenaltyOptions,
)

__all__ = [
    "CompareOptions",
    "DecisionTheoryOptions",
    "DecodingSettings",
    "DistillOptions",
    "EvaluateOptions",
    "MeasureOptions",
    "ModesOptions",
    "Options",
    "PrepareOptions",
    "ReportOptions",
    "ScoringOptions",
    "TrainOptions",
    "TranslateOptions",
    "TunePenaltyOptions",
]
