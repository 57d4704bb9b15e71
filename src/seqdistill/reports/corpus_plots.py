"""Plots of measured corpora: values with intervals, densities over sentences, and one aligned sentence pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from seqdistill.reports.plots import COLOURS, INK, STYLE, WIDTH, Labels, Line, line_plot, looks, new_axes, svg_of

DENSITY_BINS = 40
_SHADES = LinearSegmentedColormap.from_list("shades", [(*to_rgb(COLOURS[0]), a) for a in (0, 1)])


class Value(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


class AlignedPair(NamedTuple):
    """One sentence pair.

    Args:
        shades: how probable each link is, 0 to 1.
        links: those of the alignment, drawn as outlined cells.
    """

    name: str
    source: Sequence[str]
    target: Sequence[str]
    shades: Float[np.ndarray, "source target"]
    links: Sequence[tuple[int, int]]


def interval_plot(values: Mapping[str, Value], labels: Labels) -> str:
    """A point with its interval for each corpus, top to bottom."""
    with matplotlib.rc_context(STYLE):
        figure, axes = new_axes(labels, height=1.0 + 0.3 * len(values))
        look = looks([*labels.names, *values])
        for row, (name, found) in enumerate(values.items()):
            axes.plot([found.low, found.high], [row, row], color=look[name]["color"])
            axes.plot([found.value], [row], **look[name], markersize=7)
        axes.set_yticks(range(len(values)), list(values))
        axes.margins(0.06, 0.15)
        axes.invert_yaxis()
        return svg_of(figure, labels.title)


def density_plot(values: Mapping[str, Float[np.ndarray, " sentences"]], labels: Labels) -> str:
    """The share of sentences by value, as a line for each corpus; the highest 1 % of values is cut off (figure 7)."""
    low = min(float(numbers.min()) for numbers in values.values())
    high = max(float(np.quantile(numbers, 0.99)) for numbers in values.values())
    edges = np.linspace(low, max(high, low + 1e-9), DENSITY_BINS + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    lines = []
    for name, numbers in values.items():
        counts, _ = np.histogram(numbers, edges)
        lines.append(Line(name, middles, (counts / (len(numbers) * np.diff(edges))).tolist()))
    return line_plot(lines, labels)


def pair_plot(pair: AlignedPair) -> str:
    """A sentence pair as a heat map: rows are source words, columns target words (figure 2)."""
    rows, columns = pair.shades.shape
    title = f"Alignment of one sentence pair, {pair.name}"
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = new_axes(Labels(title, "", ""), height=1.5 + min(0.22 * rows, 0.5 * WIDTH))
        axes.pcolormesh(np.arange(columns + 1), np.arange(rows + 1), pair.shades, cmap=_SHADES, vmin=0, vmax=1)
        for source, target in pair.links:
            corners = [(target, source), (target + 1, source), (target + 1, source + 1), (target, source + 1)]
            axes.plot(*zip(*corners, corners[0], strict=True), color=INK, linewidth=1.1)
        axes.set_xticks(np.arange(columns) + 0.5, pair.target, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(rows) + 0.5, pair.source)
        axes.tick_params(length=0, labelsize=9)
        axes.invert_yaxis()
        return svg_of(figure, title)
