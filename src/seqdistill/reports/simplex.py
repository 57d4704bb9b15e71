"""Posteriors over two or three languages, drawn where they lie between them (Zhou et al. 2020, figure 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from seqdistill.reports.plots import COLOURS, INK, STYLE, Labels, new_axes, svg_of

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
"""Of an equilateral triangle of side 1: where outputs that are certainly in one language lie."""
GRID = 50
"""Points are drawn on a grid of this many steps a side: one dot for all of a place, its area their number."""
BINS = 20
_USUAL, _LARGEST = 3.0, 21.0
"""Diameters of dots in points: usual size of one output, and largest of any dot."""


def simplex_plot(
    languages: Sequence[str], posteriors: Float[np.ndarray, "lines languages"], *, threshold: float, title: str
) -> str:
    """A triangle for three languages, a histogram for two; dashed: the threshold above which one language counts alone.

    Raises:
        ValueError: another number of languages, which has no such picture.
    """
    shares = (posteriors > threshold).mean(axis=0)
    with matplotlib.rc_context(STYLE):
        if len(languages) == 3:
            figure, axes = new_axes(Labels(title, "", ""), height=4.7)
            _triangle(axes, [f"{name} {share:.0%}" for name, share in zip(languages, shares, strict=True)], threshold)
            _dots(axes, *places_of(posteriors))
        elif len(languages) == 2:
            first, second = (f"{name} ({share:.0%} alone)" for name, share in zip(languages, shares, strict=True))
            figure, axes = new_axes(Labels(title, f"{first} ← posterior of {languages[1]} → {second}", "outputs"))
            axes.hist(posteriors[:, 1], bins=BINS, range=(0, 1), color=COLOURS[0], alpha=0.85)
            for edge in (1 - threshold, threshold):
                axes.axvline(edge, color=INK, alpha=0.4, linestyle="--", linewidth=1)
            axes.set_xlim(0, 1)
        else:
            raise ValueError(f"{len(languages)} languages: expected two or three")
        return svg_of(figure, title)


def places_of(
    posteriors: Float[np.ndarray, "lines 3"],
) -> tuple[Float[np.ndarray, "places 2"], Float[np.ndarray, " places"]]:
    """Where on the triangle the lines lie, moved to the grid, and how many at each place."""
    steps = np.round(posteriors * GRID)
    kept, counts = np.unique(steps, axis=0, return_counts=True)
    return (kept / kept.sum(axis=1, keepdims=True)) @ CORNERS, counts.astype(np.float64)


def _dots(axes: Axes, places: np.ndarray, counts: np.ndarray) -> None:
    """All dots of a size at once, which is written as one marker used again and again."""
    single = min(_USUAL, _LARGEST / math.sqrt(counts.max()))
    for count in np.unique(counts):
        size = single * math.sqrt(count)
        look = {"color": COLOURS[0], "alpha": 0.55, "markersize": size, "markeredgewidth": 0}
        axes.plot(*places[counts == count].T, "o", **look, zorder=3)


def _triangle(axes: Axes, names: Sequence[str], threshold: float) -> None:
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.12, CORNERS[2, 1] + 0.1)
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, color=INK, linewidth=0.9)
    centre = CORNERS.mean(axis=0)
    for at, (corner, name) in enumerate(zip(CORNERS, names, strict=True)):
        others = np.delete(CORNERS, at, axis=0)
        axes.plot(*(threshold * corner + (1 - threshold) * others).T, color=INK, alpha=0.4, linestyle="--", linewidth=1)
        x, y = corner + 0.08 * (corner - centre) / np.linalg.norm(corner - centre)
        axes.text(x, y, name, ha="center", va="bottom" if at == 2 else "top")
