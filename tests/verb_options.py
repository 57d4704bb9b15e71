"""The verbs of the command line and their options, for every test that goes through all of them."""

from seqdistill import options

VERBS = {
    "prepare": options.PrepareSettings,
    "train": options.TrainSettings,
    "distill": options.DistillSettings,
    "tune": options.TuneSettings,
    "evaluate": options.EvaluateSettings,
    "measure": options.MeasureSettings,
    "translate": options.TranslateSettings,
    "compare": options.CompareSettings,
    "report": options.ReportSettings,
    "study decision-theory": options.DecisionTheorySettings,
    "study modes": options.ModesSettings,
}
