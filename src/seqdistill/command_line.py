"""The command line: the only file that reads arguments and prints results; `endings` says how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from io import IOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from typer.core import TyperGroup

from seqdistill import __version__
from seqdistill.commands import COMMANDS
from seqdistill.errors import UserError, nearest
from seqdistill.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

    from seqdistill.shown import Part

# A verb is made when it is asked for, and imports what it needs when it runs: torch alone takes seconds, pydantic a
# tenth of one, and `--help` must wait for neither.


class Verbs(TyperGroup):
    """The verbs of COMMANDS."""

    group = ""
    """What their names begin with in COMMANDS."""

    def list_commands(self, ctx: Any = None) -> list[str]:  # noqa: ARG002
        """Their names in the order of COMMANDS."""
        names = (name.removeprefix(self.group) for name in COMMANDS if name.startswith(self.group))
        return [name for name in names if " " not in name]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Makes one; raises UserError if there is no such verb, and names the nearest."""
        if cmd_name in self.commands:
            return super().get_command(ctx, cmd_name)
        if cmd_name not in (names := self.list_commands()):
            raise UserError(f"there is no verb {self.group}{cmd_name}; {nearest(cmd_name, names)}")
        verb = self.group + cmd_name
        made = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        made.command(cmd_name, help=COMMANDS[verb].help, epilog=f"Example: {COMMANDS[verb].example}")(_function(verb))
        self.commands[cmd_name] = typer.main.get_command(made)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Writes all names with what they do, and makes none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[self.group + name].help) for name in self.list_commands()])


class Studies(Verbs):
    """The verbs under `study`."""

    group = "study "


app = typer.Typer(
    name="seqdistill",
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(typer.Typer(cls=Studies, rich_markup_mode=None), name="study", help=COMMANDS["study"].help)

Out = Annotated[Path, typer.Option("--out", help="Directory of the result; finished there, the command does nothing.")]


_UsageError: Any = typer.BadParameter.__base__
"""Click's, wherever typer has it."""

READ_BYTES = 1 << 16
"""Of standard input at a time, or as much as there is."""


def execute(words: list[str]) -> int:
    """Runs a command line; returns 0.

    Raises:
        UserError: a word that no verb knows, or the verb's own errors.
    """
    command = typer.main.get_command(app)
    try:
        with command.make_context("seqdistill", words or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except _UsageError as error:
        where = "seqdistill" if error.ctx is None else error.ctx.command_path
        said = error.format_message().rstrip(".")
        raise UserError(f"{where}: {said}; `{where} --help` lists what there is") from None
    return 0


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Distill sequence-to-sequence models: from a large teacher to the best small student for a latency budget."""
    if version:
        typer.echo(f"seqdistill {__version__}")
        raise typer.Exit


@cache
def _function(verb: str) -> Callable[..., None]:
    """What typer makes the verb's command of."""
    from seqdistill.arguments import with_options

    function = FUNCTIONS.get(verb) or _stage_of(verb)
    return with_options(function, COMMANDS[verb].kind) if COMMANDS[verb].options else function


def _options(verb: str, values: dict[str, Any]) -> Any:
    from seqdistill.arguments import read

    return read(COMMANDS[verb].kind, values, verb=verb)


def _stage_of(verb: str) -> Callable[..., None]:
    """A verb that leaves a directory behind."""

    def run_verb(out: Out, **values: Any) -> None:
        from seqdistill.console import Terminal
        from seqdistill.machine import is_first
        from seqdistill.stages import run_stage

        kind = verb.removeprefix(Studies.group)
        outcome = run_stage(kind, _options(verb, values), out, Terminal(), title=kind)
        if is_first():  # of torchrun's processes
            _show_outcome(kind, outcome, out)

    return run_verb


def _show_outcome(kind: str, outcome: Any, out: Path) -> None:
    from seqdistill import shown

    if not outcome.done_now:
        _tell(f"{out}: already done with these options and inputs; nothing to do")
    _show(shown.STAGES.get(kind, shown.everything)(outcome.results))
    for page in sorted(out.glob("*.html")):
        _tell(f"page: {page}")


def _show(parts: Iterable[Part]) -> None:
    for part in parts:
        _tell(part) if isinstance(part, str) else _print(part)


def _tell(line: str) -> None:
    typer.echo(visible(line))


def _print(table: Table) -> None:
    """Tables are as wide as what they hold, also in a pipe or a log; their cells are text and no markup."""
    from rich.console import Console

    for column in table.columns:
        column.header = visible(str(column.header))
        column._cells = [visible(str(cell)) for cell in column.cells]
    console = Console(markup=False, emoji=False, highlight=False)
    width = Console(width=10_000, markup=False, emoji=False).measure(table).maximum
    console.width = max(console.width, width)
    with console.capture() as shown:  # Console itself ends the program with 1 if the reader is gone
        console.print(table)
    sys.stdout.write(shown.get())


def translate(**values: Any) -> None:
    """Lines of standard input to standard output; see COMMANDS."""
    from seqdistill.verbs.translate import trace_lines, translate_lines

    options = _options("translate", values)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    if options.trace:
        _show_traces(trace_lines(options, _standard_input()))
        return
    for line in translate_lines(options, _standard_input(), tell=_note):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _note(line: str) -> None:
    """A line on standard error, beside results on standard output."""
    typer.echo(visible(line), err=True)


def _show_traces(traces: Iterable[tuple[str, list[str]]]) -> None:
    """Iterations on standard error, translations on standard output."""
    sys.stderr.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for translation, iterations in traces:
        sys.stderr.write("\n".join(iterations) + "\n")
        sys.stderr.flush()
        sys.stdout.write(translation + "\n")
        sys.stdout.flush()


def _standard_input() -> Iterator[str]:
    for number, line in enumerate(_lines_of(sys.stdin.buffer), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: not UTF-8 ({error.reason}); convert it first, such as with iconv"
            ) from None


def _lines_of(stream: BinaryIO | IOBase) -> Iterator[bytes]:
    """Lines as soon as they are there, read past the buffer of the stream, which a waiting thread would hold locked."""
    unbuffered = getattr(stream, "raw", stream)
    rest = b""
    while block := unbuffered.read(READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def compare(
    a: Annotated[Path, typer.Argument(help="Outputs of system A, one a line.")],
    b: Annotated[Path, typer.Argument(help="Outputs of system B, one a line.")],
    **values: Any,
) -> None:
    """Prints a line for each metric; see COMMANDS."""
    from seqdistill import shown
    from seqdistill.verbs.compare import compare_files

    _show(shown.comparisons(compare_files(_options("compare", values), a, b)))


def report(
    directory: Annotated[Path, typer.Argument(help="Directory with the stages of a run.")],
    page: Annotated[Path | None, typer.Option(help="The page to write; default DIRECTORY/report.html.")] = None,
    **values: Any,
) -> None:
    """Writes the page; see COMMANDS."""
    from seqdistill.pipeline import REPORT
    from seqdistill.verbs.report import write_report

    page = page or directory / REPORT
    write_report(directory, page, _options("report", values))
    _tell(f"wrote {page}")


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a TOML file of stages.")],
    out: Annotated[Path | None, typer.Option(help="Directory of all stages; default runs/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and why; run nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Stages at a time, each on its share of the cores.")] = 1,
) -> None:
    """Runs the stages that are not done; see COMMANDS."""
    from seqdistill import pipeline, shown
    from seqdistill.console import Terminal, lines
    from seqdistill.recipe import read_recipe

    plan = read_recipe(recipe, out=out)
    if dry_run:
        rows = ((row.step.name, row.step.kind, row.action, row.why) for row in pipeline.plan(plan))
        _show(shown.listed(("stage", "verb", "action", "why"), rows))
        return
    outcomes = pipeline.run(plan, Terminal if jobs == 1 else lines, jobs=jobs)
    _show(shown.run(plan, outcomes))


def status(directory: Annotated[Path, typer.Argument(help="Output directory of a run or of one stage.")]) -> None:
    """Prints a line for each stage; see COMMANDS."""
    from seqdistill import shown
    from seqdistill.pipeline import stages_in

    rows = ((row.name, row.kind, row.status, row.detail) for row in stages_in(directory))
    _show(shown.listed(("stage", "verb", "status", "detail"), rows))


def sources() -> None:
    """Prints a line for each corpus; see COMMANDS."""
    from seqdistill import shown
    from seqdistill.text.sources import SOURCES

    rows = ((name, ", ".join(source.languages), source.licence, source.description) for name, source in SOURCES.items())
    _show(shown.listed(("name", "languages", "licence", "what"), rows))


FUNCTIONS: dict[str, Callable[..., None]] = {
    "translate": translate,
    "compare": compare,
    "report": report,
    "run": run,
    "status": status,
    "sources": sources,
}
"""Verbs that are no stages."""
