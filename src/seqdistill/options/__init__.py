"""The options of every verb, once: command line, recipes and Python read these same names, types and defaults."""

from seqdistill.options.base import Settings
from seqdistill.options.learning import PrepareSettings, TrainSettings
from seqdistill.options.measuring import DecisionTheorySettings, MeasureSettings, ModesSettings, ReportSettings
from seqdistill.options.writing import (
    CompareSettings,
    DecodingSettings,
    DistillSettings,
    EvaluateSettings,
    ScoringSettings,
    TranslateSettings,
    TuneSettings,
)

__all__ = [
    "CompareSettings",
    "DecisionTheorySettings",
    "DecodingSettings",
    "DistillSettings",
    "EvaluateSettings",
    "MeasureSettings",
    "ModesSettings",
    "PrepareSettings",
    "ReportSettings",
    "ScoringSettings",
    "Settings",
    "TrainSettings",
    "TranslateSettings",
    "TuneSettings",
]
