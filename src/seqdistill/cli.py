"""The command line: the only file that reads arguments, prints results, or exits."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from seqdistill import __version__, shown
from seqdistill.arguments import command
from seqdistill.console import Terminal, lines
from seqdistill.errors import UserError
from seqdistill.options import (
    CompareOptions,
    DecisionTheoryOptions,
    DistillOptions,
    EvaluateOptions,
    MeasureOptions,
    ModesOptions,
    Options,
    PrepareOptions,
    ReportOptions,
    TrainOptions,
    TranslateOptions,
    TunePenaltyOptions,
)
from seqdistill.shown import Part

# Commands import what they need when they run: torch alone takes seconds, and `--help` must not wait for it.


class Verbs(TyperGroup):
    """Runs a verb; a user's mistake prints one message and exits with code 2."""

    def invoke(self, ctx: Any) -> Any:
        """See click's `Group.invoke`."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            code = 2
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; the same command continues\n")
            code = 130
        except BrokenPipeError:  # the reader has enough, as `head`; what is still buffered goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            sys.stderr.write("error: the disk is full; free some space and run the same command again, it continues\n")
            code = 2
        raise typer.Exit(code)


app = typer.Typer(
    name="seqdistill",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

study = typer.Typer(name="study", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(study, help="Repeat an experiment of the papers.")

Out = Annotated[Path, typer.Option("--out", help="Directory of the result; finished there, the command does nothing.")]


def main() -> None:
    """Runs the command line."""
    app()


def _run(
    verb: str, options: Options, out: Path, show: Callable[[dict[str, Any]], Iterable[Part]] = shown.everything
) -> None:
    from seqdistill.stages import run_stage

    outcome = run_stage(verb, options, out, Terminal(), title=verb)
    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun's processes the first one speaks
        return
    if not outcome.done_now:
        typer.echo(f"{out}: already done with these options and inputs; nothing to do")
    _show(show(outcome.results))


def _show(parts: Iterable[Part]) -> None:
    for part in parts:
        typer.echo(part) if isinstance(part, str) else _print(part)


def _print(table: Table) -> None:
    """Tables are as wide as what they hold, also in a pipe or a log."""
    width = Console(width=10_000).measure(table).maximum
    Console(width=max(Console().width, width)).print(table, highlight=False)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Distill sequence-to-sequence models: from a large teacher to the best small student for a latency budget."""
    if version:
        typer.echo(f"seqdistill {__version__}")
        raise typer.Exit


@command(
    app,
    PrepareOptions,
    "seqdistill prepare --source train.en --target train.de --valid-source valid.en --valid-target valid.de "
    "--vocab-size 8000 --out data",
)
def prepare(options: PrepareOptions, out: Out) -> None:
    """Turn parallel text into a data directory: filtered, split, tokenised, ready to train on."""
    _run("prepare", options, out)


@command(app, TrainOptions, "seqdistill train --data data --model transformer-small --max-updates 20000 --out teacher")
def train(options: TrainOptions, out: Out) -> None:
    """Train a model; cut off at any moment, the same command continues to the same weights (on as many threads); a
    larger --max-updates trains on."""
    _run("train", options, out)


@command(
    app,
    DistillOptions,
    "seqdistill distill --teacher teacher --data data --beam 5 --n-best 5 --engine ctranslate2 --out distilled",
)
def distill(options: DistillOptions, out: Out) -> None:
    """Let a teacher rewrite the training targets: sequence-level distillation (Kim and Rush, 2016)."""
    _run("distill", options, out)


@command(
    app,
    EvaluateOptions,
    "seqdistill evaluate --model teacher --source test.en --reference test.de --metrics bleu,chrf,ter --out scores",
)
def evaluate(options: EvaluateOptions, out: Out) -> None:
    """Decode text with a model and score it; metrics: bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, ribes, meteor,
    beer, comet."""
    _run("evaluate", options, out)


@command(
    app,
    TunePenaltyOptions,
    "seqdistill tune-penalty --model levt --data data --penalties 0 --penalties 1 --penalties 2 --out tuned",
)
def tune_penalty(options: TunePenaltyOptions, out: Out) -> None:
    """Find the penalty on inserting nothing that is best on validation text, for models that insert words."""
    _run("tune-penalty", options, out, shown.penalties)


@command(app, TranslateOptions, "seqdistill translate --model teacher --beam 5 < test.en > test.out")
def translate(options: TranslateOptions) -> None:
    """Translate standard input to standard output, a line for a line, in order."""
    from seqdistill.verbs.translate import trace_lines, translate_lines

    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    if options.trace:
        _show_traces(trace_lines(options, _standard_input()))
        return
    for line in translate_lines(options, _standard_input()):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _show_traces(traces: Iterable[tuple[str, list[str]]]) -> None:
    """Iterations on standard error, translations on standard output."""
    sys.stderr.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for translation, iterations in traces:
        sys.stderr.write("\n".join(iterations) + "\n")
        sys.stderr.flush()
        sys.stdout.write(translation + "\n")
        sys.stdout.flush()


def _standard_input() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: not UTF-8 ({error.reason}); convert it first, such as with iconv"
            ) from None


@command(app, CompareOptions, "seqdistill compare teacher.out student.out --reference test.de")
def compare(
    options: CompareOptions,
    a: Annotated[Path, typer.Argument(help="Outputs of system A, one a line.")],
    b: Annotated[Path, typer.Argument(help="Outputs of system B, one a line.")],
) -> None:
    """Compare two outputs by paired bootstrap resampling: difference, 95 % interval, p-value."""
    from seqdistill.verbs.compare import compare_files

    _show(shown.comparisons(compare_files(options, a, b)))


@command(app, ReportOptions, "seqdistill report runs/demo --page report.html")
def report(
    options: ReportOptions,
    directory: Annotated[Path, typer.Argument(help="Directory with the stages of a run.")],
    page: Annotated[Path | None, typer.Option(help="The page to write; default DIRECTORY/report.html.")] = None,
) -> None:
    """Write one self-contained HTML page about the stages in a directory."""
    from seqdistill.pipeline import REPORT
    from seqdistill.verbs.report import write_report

    page = page or directory / REPORT
    write_report(directory, page, options)
    typer.echo(f"wrote {page}")


@command(
    app,
    MeasureOptions,
    "seqdistill measure tiny base big --real data --source-language en --target-language de --out measures",
)
def measure(options: MeasureOptions, out: Out) -> None:
    """Measure parallel corpora (complexity, faithfulness, reordering), and say which suits which student (Zhou et al.
    2020)."""
    from seqdistill.verbs.measure import PAGE

    _run("measure", options, out, shown.measures)
    typer.echo(f"page: {out / PAGE}")


@command(study, DecisionTheoryOptions, "seqdistill study decision-theory --hmms 50 --out decisions")
def decision_theory(options: DecisionTheoryOptions, out: Out) -> None:
    """Which distilled data is best for which accuracy, on random HMMs (Zhou et al. 2020, appendix D)."""
    _run("decision-theory", options, out, shown.decisions)


@command(
    study,
    ModesOptions,
    "seqdistill study modes --output at=at-test --output nat=nat-test --language de=train.de --language fr=train.fr "
    "--training-data full=data --training-data distilled=distilled --out modes",
)
def modes(options: ModesOptions, out: Out) -> None:
    """Which of the languages they were trained on do models write, or mix? (Zhou et al. 2020, section 3.1)."""
    _run("modes", options, out, shown.modes)
    typer.echo(f"page: {out / 'modes.html'}")


@app.command(epilog="Example: seqdistill run recipes/demo.toml --out runs/demo")
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a TOML file of stages.")],
    out: Annotated[Path | None, typer.Option(help="Directory of all stages; default runs/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and why; run nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Stages at a time, each on its share of the cores.")] = 1,
) -> None:
    """Run a recipe: every stage that is not finished, in order; killed at any moment, the same command continues."""
    from seqdistill import pipeline
    from seqdistill.recipe import read_recipe

    plan = read_recipe(recipe, out=out)
    if dry_run:
        rows = ((row.step.name, row.step.kind, row.action, row.why) for row in pipeline.plan(plan))
        _show(shown.listed(("stage", "verb", "action", "why"), rows))
        return
    outcomes = pipeline.run(plan, Terminal if jobs == 1 else lines, jobs=jobs)
    if not any(outcome.done_now for _, outcome in outcomes):
        typer.echo(f"{plan.out}: all {len(outcomes)} stages were finished before; nothing to do")
    _show(shown.systems(plan.out))
    if plan.report:
        typer.echo(f"report: {plan.out / pipeline.REPORT}")


@app.command(epilog="Example: seqdistill status runs/demo")
def status(directory: Annotated[Path, typer.Argument(help="Output directory of a run or of one stage.")]) -> None:
    """Show which stages of a directory are finished."""
    from seqdistill.pipeline import stages_in

    rows = ((row.name, row.kind, row.status, row.detail) for row in stages_in(directory))
    _show(shown.listed(("stage", "verb", "status", "detail"), rows))


@app.command(epilog="Example: seqdistill sources")
def sources() -> None:
    """List the public corpora that `prepare --corpus NAME` can fetch."""
    from seqdistill.text.sources import SOURCES

    rows = ((name, ", ".join(source.languages), source.licence, source.description) for name, source in SOURCES.items())
    _show(shown.listed(("name", "languages", "licence", "what"), rows))
