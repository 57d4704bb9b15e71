"""The options of every verb, once: command line, recipes and Python read these same names, types and defaults."""

from seqdistill.settings.base import Settings
from seqdistill.settings.learning import PrepareSettings, TrainSettings
from seqdistill.settings.measuring import DecisionTheorySettings, MeasureSettings, ModesSettings, ReportSettings
from seqdistill.settings.writing import (
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
