"""The verbs of the command line and their options, for every test that goes through all of them."""

VERBS = {
    "prepare": settings.PrepareSettings,
    "train": settings.TrainSettings,
    "distill": settings.DistillSettings,
    "tune": settings.TuneSettings,
    "evaluate": settings.EvaluateSettings,
    "measure": settings.MeasureSettings,
    "translate": settings.TranslateSettings,
    "compare": settings.CompareSettings,
    "report": settings.ReportSettings,
    "study decision-theory": settings.DecisionTheorySettings,
    "study modes": settings.ModesSettings,
}
