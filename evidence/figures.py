"""Plots in docs/figures: those that the rows of a result have the columns for."""

from __future__ import annotations

from collections.abc import Sequence

from seqdistill.reports.columns import Row
from seqdistill.reports.figures import COSTS, Figure, drawn, number_of, systems_of, trade_off
from seqdistill.reports.plots import Labels, Line, category_plot, line_plot, standalone

TEXTS = {f"bleu_{text}": text for text in ("real", "tiny", "small", "base", "big")}
"""Columns of students by who wrote the text they learned from (Zhou et al. 2020, figure 4)."""


def figures_of(rows: Sequence[Row]) -> dict[str, str]:
    """Every plot that the rows of a result have the columns for, by the end of its file's name."""
    plots = {suffix: svg for suffix, (_, svg) in drawn(rows, FIGURES).items()}
    if students := _by_text(rows):
        plots["texts"] = category_plot(students, Labels("BLEU by the text a student learned from", "text of", "BLEU"))
    return {suffix: standalone(svg) for suffix, svg in plots.items()}


def _by_text(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """BLEU of each student by text, of those that learned from more than two."""
    students = {
        str(row["student"]): {text: number_of(row, name) for name, text in TEXTS.items() if row.get(name) is not None}
        for row in rows
        if "student" in row
    }
    return {name: values for name, values in students.items() if len(values) > 2}


def _categories(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    series: dict[str, dict[str, float]] = {name: {} for name in systems_of(rows)}
    for row in rows:
        series[str(row["system"])][str(row[x])] = number_of(row, quality)
    return category_plot(series, labels)


def _lines(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    lines = []
    for name in systems_of(rows):
        own = [row for row in rows if row["system"] == name]
        lines.append(Line(name, [number_of(row, x) for row in own], [number_of(row, quality) for row in own]))
    return line_plot(lines, labels)


FIGURES: dict[str, Figure] = {
    **COSTS,
    "deployed": Figure("latency_ms", "against latency", "milliseconds a sentence, by itself", trade_off),
    "length": Figure("length", "by sentence length", "words in the source", _categories),
    "curve": Figure("update", "during training", "updates", _lines),
}
