"""Which plots the rows of a table allow: each needs a system, a quality, and one more column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from seqdistill.reports.columns import Row, column
from seqdistill.reports.plots import Labels, Line, Point, category_plot, line_plot, standalone, trade_off_plot

QUALITIES = ("bleu", "rouge1", "chrf", "comet")
TEXTS = {f"bleu_{text}": text for text in ("real", "tiny", "small", "base", "big")}
"""Columns of students by who wrote the text they learned from (Zhou et al. 2020, figure 4)."""


class Figure(NamedTuple):
    """A plot of rows that have the column `x`.

    Args:
        title: what it shows; the quality's heading comes in front.
        draw: SVG from rows, labels, the x column and the quality column.
        cost: whether its points are systems, weighed by what they cost.
    """

    x: str
    title: str
    x_label: str
    draw: Callable[[Sequence[Row], Labels, str, str], str]
    cost: bool


def figures_of(rows: Sequence[Row]) -> dict[str, str]:
    """Every plot that the rows of a result have the columns for, by the end of its file's name."""
    plots = {suffix: svg for suffix, (_, svg) in _drawn(rows).items()}
    if students := _by_text(rows):
        plots["texts"] = category_plot(students, Labels("BLEU by the text a student learned from", "text of", "BLEU"))
    return {suffix: standalone(svg) for suffix, svg in plots.items()}


def _by_text(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """BLEU of each student by text, of those that learned from more than two."""
    students = {
        str(row["student"]): {text: _number(row, name) for name, text in TEXTS.items() if row.get(name) is not None}
        for row in rows
        if "student" in row
    }
    return {name: values for name, values in students.items() if len(values) > 2}


def cost_plots(rows: Sequence[Row]) -> dict[str, str]:
    """Quality against speed and size, by title."""
    return {title: svg for suffix, (title, svg) in _drawn(rows).items() if FIGURES[suffix].cost}


def _drawn(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    quality = next((name for name in QUALITIES if any(name in row for row in rows)), None)
    if quality is None:
        return {}
    names = _systems([row for row in rows if row.get("system") is not None])
    plots = {}
    for suffix, figure in FIGURES.items():
        complete = [row for row in rows if all(row.get(name) is not None for name in ("system", figure.x, quality))]
        if complete:
            label = column(quality).title
            labels = Labels(f"{label} {figure.title}", figure.x_label, label, names)
            plots[suffix] = labels.title, figure.draw(complete, labels, figure.x, quality)
    return plots


def _trade_off(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    scale = column(x).scale[0]
    points = [Point(str(row["system"]), _number(row, x) / scale, _number(row, quality)) for row in rows]
    return trade_off_plot(points, labels, more_is_better=column(x).best == "high")


def _categories(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    series: dict[str, dict[str, float]] = {name: {} for name in _systems(rows)}
    for row in rows:
        series[str(row["system"])][str(row[x])] = _number(row, quality)
    return category_plot(series, labels)


def _lines(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    lines = []
    for name in _systems(rows):
        own = [row for row in rows if row["system"] == name]
        lines.append(Line(name, [_number(row, x) for row in own], [_number(row, quality) for row in own]))
    return line_plot(lines, labels)


def _systems(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["system"]) for row in rows))


def _number(row: Row, name: str) -> float:
    return float(row[name])  # type: ignore[arg-type]


FIGURES: dict[str, Figure] = {
    "latency": Figure("milliseconds_per_sentence", "against latency", "milliseconds a sentence", _trade_off, True),
    "speed": Figure("sentences_per_second", "against throughput", "sentences a second", _trade_off, True),
    "size": Figure("parameters", "against size", "million parameters", _trade_off, True),
    "length": Figure("length", "by sentence length", "words in the source", _categories, False),
    "curve": Figure("update", "during training", "updates", _lines, False),
}
