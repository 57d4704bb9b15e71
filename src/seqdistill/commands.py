"""Every verb: what it does, its options, an example. Command line and Python read it before they import anything else.

Nothing here is imported for its options: their class is named, so that `seqdistill --help` waits for none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from seqdistill.options import Options


class Command(NamedTuple):
    """A verb."""

    help: str
    example: str
    """A command line."""
    options: str = ""
    """Name of their class in `seqdistill.options`; none: it has no options of its own class."""

    @property
    def kind(self) -> type[Options]:
        """The class of its options."""
        from seqdistill import options

        return getattr(options, self.options)


COMMANDS: dict[str, Command] = {
    "prepare": Command(
        "Turn parallel text into a data directory: filtered, split, tokenised, ready to train on.",
        "seqdistill prepare --source train.en --target train.de --valid-source valid.en --valid-target valid.de "
        "--vocab-size 8000 --out data",
        "PrepareOptions",
    ),
    "train": Command(
        "Train a model; cut off at any moment, the same command continues to the same weights (on as many threads); a "
        "larger --max-updates trains on.",
        "seqdistill train --data data --model transformer-small --max-updates 20000 --out teacher",
        "TrainOptions",
    ),
    "distill": Command(
        "Let a teacher rewrite the training targets: sequence-level distillation (Kim and Rush, 2016).",
        "seqdistill distill --teacher teacher --data data --beam 5 --n-best 5 --engine ctranslate2 --out distilled",
        "DistillOptions",
    ),
    "evaluate": Command(
        "Decode text with a model and score it; metrics: bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, ribes, "
        "meteor, beer, comet.",
        "seqdistill evaluate --model teacher --source test.en --reference test.de --metrics bleu,chrf,ter --out scores",
        "EvaluateOptions",
    ),
    "export": Command(
        "Make a trained model one directory for an engine that translates, small and fast, and say what that costs.",
        "seqdistill export --model student --shortlist data --out student-int8",
        "ExportOptions",
    ),
    "bench": Command(
        "Measure models side by side, in turns: milliseconds a sentence, sentences a second, memory, size, load time, "
        "BLEU and chrF.",
        "seqdistill bench teacher student --data data --beam 1 --cores 1 --out speed",
        "BenchOptions",
    ),
    "tune-penalty": Command(
        "Find the penalty on inserting nothing that is best on validation text, for models that insert words.",
        "seqdistill tune-penalty --model levt --data data --penalties 0 --penalties 1 --penalties 2 --out tuned",
        "TunePenaltyOptions",
    ),
    "translate": Command(
        "Translate standard input to standard output, a line for a line, in order.",
        "seqdistill translate --model teacher --beam 5 < test.en > test.out",
        "TranslateOptions",
    ),
    "compare": Command(
        "Compare two outputs by paired bootstrap resampling: difference, 95 % interval, p-value.",
        "seqdistill compare teacher.out student.out --reference test.de",
        "CompareOptions",
    ),
    "report": Command(
        "Write one self-contained HTML page about the stages in a directory.",
        "seqdistill report runs/demo --page report.html",
        "ReportOptions",
    ),
    "measure": Command(
        "Measure parallel corpora (complexity, faithfulness, reordering), and say which suits which student (Zhou et "
        "al. 2020).",
        "seqdistill measure tiny base big --real data --source-language en --target-language de --out measures",
        "MeasureOptions",
    ),
    "study": Command("Repeat an experiment of the papers.", "seqdistill study modes --help"),
    "study decision-theory": Command(
        "Which distilled data is best for which accuracy, on random HMMs (Zhou et al. 2020, appendix D).",
        "seqdistill study decision-theory --hmms 50 --out decisions",
        "DecisionTheoryOptions",
    ),
    "study modes": Command(
        "Which of the languages they were trained on do models write, or mix? (Zhou et al. 2020, section 3.1).",
        "seqdistill study modes --output at=at-test --output nat=nat-test --language de=train.de "
        "--language fr=train.fr --training-data full=data --training-data distilled=distilled --out modes",
        "ModesOptions",
    ),
    "run": Command(
        "Run a recipe: every stage that is not finished, in order; killed at any moment, the same command continues.",
        "seqdistill run recipes/demo.toml --out runs/demo",
    ),
    "status": Command("Show which stages of a directory are finished.", "seqdistill status runs/demo"),
    "sources": Command("List the public corpora that `prepare --corpus NAME` can fetch.", "seqdistill sources"),
}
"""In the order of the help; a study has a group's name before its own."""
