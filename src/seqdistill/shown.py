"""What verbs found, as tables and lines for a terminal; `command_line.py` prints them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:  # `--help` must not wait for the metrics
    from seqdistill.metrics.significance import Comparison
    from seqdistill.recipe import Recipe, Step
    from seqdistill.stages import Outcome

Part = str | Table


def everything(results: dict[str, Any]) -> Iterator[Part]:
    """Nested results as one table: a line each, numbers aligned."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in _flat(results):
        table.add_row(key, f"{value:,.4g}" if isinstance(value, float) else str(value))
    yield table


def listed(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Part]:
    """A table of these rows."""
    table = Table(*titles, box=None)
    for row in rows:
        table.add_row(*row)
    yield table


def comparisons(rows: Iterable[Comparison]) -> Iterator[Part]:
    """Two systems under each metric, and their difference."""
    table = Table("metric", "A", "B", "B - A", "95 % interval", "p", "signature", box=None)
    for row in rows:
        digits = 2 if max(abs(row.baseline), abs(row.system)) > 1 else 4  # some metrics end at 1, some at 100
        numbers = (f"{row.baseline:.{digits}f}", f"{row.system:.{digits}f}", f"{row.delta:+.{digits}f}")
        interval = f"[{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
        table.add_row(row.metric, *numbers, interval, f"{row.p_value:.3f}", row.signature)
    yield table


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def measures(results: dict[str, Any]) -> Iterator[Part]:
    """The table of measures, what was skipped, what each measure is, and the advice."""
    table = Table(box=None)
    for number, title in enumerate(results["table"]):
        table.add_column(title, justify="right" if number else "left")
    for row in zip(*results["table"].values(), strict=True):
        table.add_row(*row)
    yield table
    for row in results["corpora"]:
        skipped = {key.removeprefix("skipped_"): count for key, count in row.items() if key.startswith("skipped_")}
        if any(skipped.values()):
            counts = ", ".join(f"{count:,} {reason.replace('_', '-')}" for reason, count in skipped.items() if count)
            yield f"{row['corpus']}: skipped {counts} of {row['lines']:,} lines"
    yield ""
    for one in results["definitions"]:
        yield f"{one['name']}: {one['definition']}\n    {one['signature']}"
    yield ""
    for one in results["excluded"]:
        yield f"{one['corpus']}: for no student, {one['reason']}"
    yield from results.get("notes", [])  # older stages have none
    for one in results["advice"]:
        yield f"{one['student']}: train it on {one['corpus']}: {one['reason']}\n    {one['evidence']}"


def penalties(results: dict[str, Any]) -> Iterator[Part]:
    """What was tried, and what was best."""
    table = Table("penalty", "BLEU", "passes", "iterations", box=None)
    for row in results["trials"]:
        table.add_row(f"{row['penalty']:g}", *(f"{row[name]:.2f}" for name in ("score", "passes", "iterations")))
    yield table
    yield f"best: {results['penalty']:g}    {results['bleu_signature']}"


def speeds(results: dict[str, Any]) -> Iterator[Part]:
    """The table of measured systems, the signatures of the scores, and how it was measured."""
    from seqdistill.reports.bench_page import SPEEDS, told
    from seqdistill.reports.columns import signatures_of

    ends = {f"{name}_{end}" for name in SPEEDS for end in ("low", "high")}  # the page has them; no line is so wide
    yield _table_of([{key: row[key] for key in row if key not in ends} for row in results["systems"]])
    yield from signatures_of(results["systems"])
    yield from told(results)


def _table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows of a page as it has them: headings, digits and intervals."""
    from seqdistill.reports.columns import column, columns_of, folded, is_numeric, with_intervals

    table, cells = Table(box=None), []
    for name in folded(columns_of(rows)):
        values = [row.get(name) for row in rows]
        table.add_column(column(name).title, justify="right" if is_numeric(values) else "left")
        cells.append(with_intervals(name, rows))
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def exports(results: dict[str, Any]) -> Iterator[Part]:
    """What was written, and what that loses against the trained model."""
    kept = {name: value for name, value in results.items() if name not in ("verified", "advice")}
    yield from everything(kept | {"bytes": f"{results['bytes']:,}", "parameters": f"{results['parameters']:,}"})
    if "verified" not in results:
        yield "not compared with the trained model: no validation text; give --data"
        return
    lines, systems = results["verified"]["lines"], {**results["verified"]}
    del systems["lines"]
    table = Table("model", "BLEU", "loss", "95 % interval", "chrF", "loss", "95 % interval", "equal lines", box=None)
    for name, row in systems.items():
        cells = [name]
        for metric in ("bleu", "chrf"):
            ends = [row.get(f"{metric}_loss{end}") for end in ("", "_low", "_high")]
            loss, low, high = ("" if end is None else f"{end:.2f}" for end in ends)
            cells += [f"{row[metric]:.2f}", loss, f"{low} to {high}" if loss else ""]
        ties = f", {row['ties']:,} by ties" if row.get("ties") else ""
        table.add_row(*cells, f"{row['equal_lines']:,} of {lines:,}{ties}" if "equal_lines" in row else "")
    yield ""
    yield table
    if "advice" in results:
        yield results["advice"]


def decisions(results: dict[str, Any]) -> Iterator[Part]:
    """Two tables: shares of wins for each a and b, and what the systems reach on average."""
    parts = ("token", "sequence")
    heads = [head for part in parts for head in (f"{part} wins %", "95 % interval", "ties")]
    wins = Table("a", "b", "HMMs", *heads, box=None)
    for row in [*results["wins"], {"a": "all", "b": "", **results["figures"]}]:
        cells = [row["a"], row["b"], row["hmms"]]
        for part in parts:
            low, high = row[f"{part}_wins_low"], row[f"{part}_wins_high"]
            cells += [f"{row[f'{part}_wins_percent']:.1f}", f"{low:.1f} to {high:.1f}", row[f"{part}_ties"]]
        wins.add_row(*map(str, cells))
    yield wins
    yield ""
    accuracy = Table("trained on, or decoder", "token accuracy %", "sequence accuracy %", box=None)
    for row in results["accuracy"]:
        accuracy.add_row(row["system"], f"{row['token_accuracy']:.2f}", f"{row['sequence_accuracy']:.2f}")
    yield accuracy


def modes(results: dict[str, Any]) -> Iterator[Part]:
    """A table of the systems and one of the corpora."""
    single = f"in one language (> {results['threshold']:.3g}), %"
    names = [f"{name}, %" for name in results["languages"]]
    table = Table("system", "outputs", single, "95 % interval", *names, box=None)
    for row in results["systems"]:
        interval = f"{row['single_language_low']:.1f} to {row['single_language_high']:.1f}"
        shares = [f"{row[f'{name}_percent']:.1f}" for name in results["languages"]]
        table.add_row(row["system"], f"{row['lines']:,}", f"{row['single_language_percent']:.1f}", interval, *shares)
    yield table
    if results["corpora"]:
        yield ""
        corpora = Table("corpus", "pairs", "complexity, nats", "95 % interval", box=None)
        for row in results["corpora"]:
            interval = f"{row['complexity_low']:.3f} to {row['complexity_high']:.3f}"
            corpora.add_row(row["corpus"], f"{row['pairs']:,}", f"{row['complexity']:.3f}", interval)
        yield corpora


def systems(directory: Path) -> Iterator[Part]:
    """The table of evaluated systems, its signatures, and the gains of distillation; nothing where there are none."""
    from seqdistill.reports.columns import signatures_of
    from seqdistill.verbs.systems import gains, row_of, systems_in

    found = systems_in(directory)
    if not found:
        return
    rows = [row_of(system) for system in found]
    yield _table_of(rows)
    yield from signatures_of(rows)
    for name, gain in gains(found).items():
        yield f"{name}: {gain}"


def run(recipe: Recipe, outcomes: Sequence[tuple[Step, Outcome]]) -> Iterator[Part]:
    """What a recipe came to: its systems, its measurements of speed, its page, and how to translate with what it
    exported last."""
    from seqdistill.options import BenchOptions
    from seqdistill.recipe import REPORT

    if not any(outcome.done_now for _, outcome in outcomes):
        yield f"{recipe.out}: all {len(outcomes)} stages were finished before; nothing to do"
    yield from systems(recipe.out)
    for step, outcome in outcomes:
        if step.kind == "bench":
            yield ""
            yield from speeds(outcome.results)
    if recipe.report:
        yield f"report: {recipe.out / REPORT}"
    if exported := [step.directory for step, _ in outcomes if step.kind == "export"]:
        timed = [step.settings for step, _ in outcomes if isinstance(step.settings, BenchOptions)]
        beam = f" --beam {timed[-1].beam}" if timed else ""  # as it was measured
        command = f"{_program()} translate --model {quote(str(exported[-1]))}{beam}"
        yield f"translate: echo {quote(_short_sentence(recipe.out))} | {command}"


def _program() -> str:
    """How this program was called, where its name alone would not find it."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{quote(sys.executable)} -m seqdistill"
    return "seqdistill" if which("seqdistill") else quote(str(program))


def _short_sentence(directory: Path) -> str:
    """A sentence of the text that a run decoded."""
    from seqdistill.manifest import checked
    from seqdistill.text.letters import num_words
    from seqdistill.text.lines import read_lines
    from seqdistill.verbs.systems import systems_in

    texts = (read_lines(checked(system.evaluation / "sources.txt")) for system in systems_in(directory))
    return next((line for lines in texts for line in lines if 4 <= num_words(line) <= 8), "...")


STAGES = {
    "export": exports,
    "bench": speeds,
    "measure": measures,
    "tune-penalty": penalties,
    "decision-theory": decisions,
    "modes": modes,
}
"""Verbs whose results have a form of their own."""
