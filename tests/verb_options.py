"""The verbs of the command line and their options, for every test that goes through all of them."""

from seqdistill import options

VERBS = {
    "prepare": options.PrepareOptions,
    "train": options.TrainOptions,
    "distill": options.DistillOptions,
    "tune-penalty": options.TunePenaltyOptions,
    "evaluate": options.EvaluateOptions,
    "measure": options.MeasureOptions,
    "translate": options.TranslateOptions,
    "compare": options.CompareOptions,
    "report": options.ReportOptions,
    "study decision-theory": options.DecisionTheoryOptions,
    "study modes": options.ModesOptions,
}
