"""Plots of quality against cost: which ones the rows of a table have the columns for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from seqdistill.reports.columns import Row, column
from seqdistill.reports.plots import Labels, Point, trade_off_plot

QUALITIES = ("bleu", "rouge1", "chrf", "comet")


class Figure(NamedTuple):
    """A plot of rows that have the column `x`.

    Args:
        title: what it shows; the quality's heading comes in front.
        draw: SVG from rows, labels, the x column and the quality column.
    """

    x: str
    title: str
    x_label: str
    draw: Callable[[Sequence[Row], Labels, str, str], str]


def cost_plots(rows: Sequence[Row]) -> dict[str, str]:
    """Quality against speed and size, by title."""
    return dict(drawn(rows, COSTS).values())


def drawn(rows: Sequence[Row], figures: Mapping[str, Figure]) -> dict[str, tuple[str, str]]:
    """Title and SVG of each figure whose columns the rows have; empty where none has a quality."""
    quality = next((name for name in QUALITIES if any(name in row for row in rows)), None)
    if quality is None:
        return {}
    names = systems_of([row for row in rows if row.get("system") is not None])
    plots = {}
    for suffix, figure in figures.items():
        complete = [row for row in rows if all(row.get(name) is not None for name in ("system", figure.x, quality))]
        if complete:
            label = column(quality).title
            labels = Labels(f"{label} {figure.title}", figure.x_label, label, names)
            plots[suffix] = labels.title, figure.draw(complete, labels, figure.x, quality)
    return plots


def trade_off(rows: Sequence[Row], labels: Labels, x: str, quality: str) -> str:
    """A point for each row, with bars where the row has NAME_low and NAME_high of what is drawn."""
    scale = column(x).scale[0]
    points = [
        Point(
            str(row["system"]),
            number_of(row, x) / scale,
            number_of(row, quality),
            cost_ends=_ends(row, x, scale),
            quality_ends=_ends(row, quality, 1.0),
        )
        for row in rows
    ]
    return trade_off_plot(points, labels, more_is_better=column(x).best == "high")


def _ends(row: Row, name: str, scale: float) -> tuple[float, float] | None:
    if row.get(f"{name}_low") is None or row.get(f"{name}_high") is None:
        return None
    return number_of(row, f"{name}_low") / scale, number_of(row, f"{name}_high") / scale


def systems_of(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["system"]) for row in rows))


def number_of(row: Row, name: str) -> float:
    return float(row[name])  # type: ignore[arg-type]


COSTS: dict[str, Figure] = {
    "latency": Figure("milliseconds_per_sentence", "against latency", "milliseconds a sentence", trade_off),
    "speed": Figure("sentences_per_second", "against throughput", "sentences a second", trade_off),
    "size": Figure("parameters", "against size", "million parameters", trade_off),
}
