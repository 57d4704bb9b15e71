"""The options of every concern, once: command line, recipes and Python read these names, types, ranges and defaults."""

from seqdistill.options.base import Option, Options
from seqdistill.options.benching import BenchOptions
from seqdistill.options.decoding import (
    ComputingOptions,
    DecodingOptions,
    DistillOptions,
    EngineOptions,
    LoadOptions,
    SearchOptions,
    TranslateOptions,
    WritingOptions,
)
from seqdistill.options.exporting import ExportOptions
from seqdistill.options.measuring import AlignerOptions, MeasureOptions
from seqdistill.options.report import ReportOptions
from seqdistill.options.rollouts import RolloutOptions
from seqdistill.options.scoring import (
    CompareOptions,
    EvaluateOptions,
    MetricOptions,
    ScoringOptions,
    TestTextOptions,
    TunePenaltyOptions,
)
from seqdistill.options.studies import DecisionTheoryOptions, ModesOptions
from seqdistill.options.text import PrepareOptions
from seqdistill.options.training import DivergenceOptions, TrainingOptions, TrainOptions

__all__ = [
    "AlignerOptions",
    "BenchOptions",
    "CompareOptions",
    "ComputingOptions",
    "DecisionTheoryOptions",
    "DecodingOptions",
    "DistillOptions",
    "DivergenceOptions",
    "EngineOptions",
    "EvaluateOptions",
    "ExportOptions",
    "LoadOptions",
    "MeasureOptions",
    "MetricOptions",
    "ModesOptions",
    "Option",
    "Options",
    "PrepareOptions",
    "ReportOptions",
    "RolloutOptions",
    "ScoringOptions",
    "SearchOptions",
    "TestTextOptions",
    "TrainOptions",
    "TrainingOptions",
    "TranslateOptions",
    "TunePenaltyOptions",
    "WritingOptions",
]
