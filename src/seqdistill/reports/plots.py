"""Plots as SVG text, the same bytes for the same numbers: curves of training, BLEU by length, quality against cost.

Text and lines take the colour of the text around them (`currentColor`), so a plot suits a light and a dark page. Names
are written as they are: nothing in them is mathematics, markup, or hidden from a legend.
"""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK = "#010101"  # stands for currentColor, which matplotlib cannot write
WIDTH = 5.8
"""Of a plot, in inches."""
COLOURS = ("#3574d4", "#d9722e", "#2e9e6b", "#a355c9", "#cf3f5f", "#b08a13", "#1899a8", "#7d828a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: Any = {
    "svg.hashsalt": "seqdistill",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}
# Characters that the font lacks are the reader's to draw: an SVG has the text itself.
warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
THEME = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"


class Labels(NamedTuple):
    """What is written on a plot.

    Args:
        title: what it shows, for readers who cannot see it.
        names: systems in the order that fixes their looks, so that they look the same in every plot of a page.
    """

    title: str
    x: str
    y: str
    names: Sequence[str] = ()


class Line(NamedTuple):
    """A named series of points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Point(NamedTuple):
    """A named system: what it costs, how good it is, and the ends of the intervals of both where they are known."""

    name: str
    cost: float
    quality: float
    cost_ends: tuple[float, float] | None = None
    quality_ends: tuple[float, float] | None = None


def line_plot(lines: Sequence[Line], labels: Labels) -> str:
    """Lines over a common axis, told apart by colour and marker."""
    with matplotlib.rc_context(STYLE):
        figure, axes = new_axes(labels)
        look, drawn = looks([*labels.names, *(line.name for line in lines)]), []
        for line in lines:
            every = max(1, len(line.x) // 12)
            drawn += axes.plot(line.x, line.y, **look[line.name], markevery=every)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        _legend(axes, drawn, [line.name for line in lines])
        return svg_of(figure, labels.title)


def category_plot(series: Mapping[str, Mapping[str, float]], labels: Labels) -> str:
    """Values of each system in common categories, ordered by their numbers (such as buckets of sentence length), those
    without one as they come."""
    categories = sorted(dict.fromkeys(name for values in series.values() for name in values), key=_first_number)
    with matplotlib.rc_context(STYLE):
        figure, axes = new_axes(labels)
        look, drawn = looks([*labels.names, *series]), []
        for name, values in series.items():
            x = [k for k, category in enumerate(categories) if category in values]
            y = [values[categories[k]] for k in x]
            drawn += axes.plot(x, y, **look[name])
        axes.set_xticks(range(len(categories)), categories)
        axes.set_xlim(-0.3, len(categories) - 0.7)
        _legend(axes, drawn, list(series))
        return svg_of(figure, labels.title)


def share_plot(shares: Mapping[str, Mapping[str, float]], labels: Labels) -> str:
    """A bar for each name, divided into its parts, which sum to 1."""
    parts = list(dict.fromkeys(part for values in shares.values() for part in values))
    with matplotlib.rc_context(STYLE):
        figure, axes = new_axes(labels, height=1.4 + 0.24 * len(shares))
        begun, drawn = [0.0] * len(shares), []
        for part, colour in zip(parts, COLOURS, strict=False):
            widths = [values.get(part, 0.0) for values in shares.values()]
            drawn.append(axes.barh(list(shares), widths, left=begun, color=colour))
            begun = [start + width for start, width in zip(begun, widths, strict=True)]
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        _legend(axes, drawn, parts)
        return svg_of(figure, labels.title)


def trade_off_plot(points: Sequence[Point], labels: Labels, *, more_is_better: bool) -> str:
    """Quality against cost or speed, on a logarithmic axis, with a line through the systems that no other one beats.

    Args:
        more_is_better: whether more on the x-axis is better, as speed is and size is not.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_axes(labels)
        costs = [point.cost for point in points]
        if max(costs) > 3 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        front = undominated(points, more_is_better=more_is_better)
        axes.plot([p.cost for p in front], [p.quality for p in front], color=INK, alpha=0.25, linestyle="--", zorder=1)
        look = looks([*labels.names, *(point.name for point in points)])
        for point in points:
            axes.plot(point.cost, point.quality, **look[point.name], markersize=8)
            bar = {"color": look[point.name]["color"], "alpha": 0.6, "linewidth": 1.2, "zorder": 1}
            if point.quality_ends:
                axes.plot([point.cost] * 2, point.quality_ends, **bar)
            if point.cost_ends:
                axes.plot(point.cost_ends, [point.quality] * 2, **bar)
        axes.margins(0.14, 0.16)
        _name_points(axes, points, front)
        return svg_of(figure, labels.title)


def undominated(points: Sequence[Point], *, more_is_better: bool) -> list[Point]:
    """Systems for which no other one is at least as good and as cheap (or fast), and better in one; by cost."""
    sign = 1 if more_is_better else -1

    def beats(other: Point, point: Point) -> bool:
        one, two = (sign * other.cost, other.quality), (sign * point.cost, point.quality)
        return one != two and one[0] >= two[0] and one[1] >= two[1]

    return sorted((p for p in points if not any(beats(other, p) for other in points)), key=lambda p: p.cost)


class Box(NamedTuple):
    """A rectangle, in points (1/72 inch)."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.top <= other.bottom or other.top <= self.bottom)


def _name_points(axes: Axes, points: Sequence[Point], front: Sequence[Point]) -> None:
    """Writes each name beside its point, where it lies on no name, point or line of the front if there is a place."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # settles the layout, and with it where a point lies
    places, corners = (
        [_place(axes, float(point.cost), float(point.quality)) for point in group] for group in (points, front)
    )
    left_edge, right_edge = axes.transAxes.transform([(0, 0), (1, 0)])[:, 0] * 72 / figure.dpi
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for (x0, y0), (x1, y1) in (*pairwise(corners), *_bars(axes, points)):
        steps = [k / 40 for k in range(41)]
        line = [(x0 + (x1 - x0) * step, y0 + (y1 - y0) * step) for step in steps]
        taken += [Box(x - 0.1, y - 0.1, x + 0.1, y + 0.1) for x, y in line]
    # One name after the other takes, of seven places around its point, the one that covers least of what is there:
    # points, names before it, and the front and the bars, which are rows of small boxes for this.
    for point, (x, y) in zip(points, places, strict=True):
        width = 6.0 * len(point.name)
        offsets = [(9, 0, 0.0), (-9, 0, 1.0), (0, 13, 0.5), (0, -13, 0.5), (6, 12, 0.0), (-6, 12, 1.0), (6, -12, 0.0)]
        lefts = [x + dx - width * share for dx, _, share in offsets]
        boxes = [
            Box(left, y + dy - 6, left + width, y + dy + 6) for left, (_, dy, _) in zip(lefts, offsets, strict=True)
        ]
        outside = [box.left < left_edge or box.right > right_edge for box in boxes]
        cost = [sum(box.overlaps(other) for other in taken) + 50 * out for box, out in zip(boxes, outside, strict=True)]
        best = cost.index(min(cost))
        dx, dy, share = offsets[best]
        taken.append(boxes[best])
        text = axes.annotate(point.name, (point.cost, point.quality), xytext=(dx, dy), textcoords="offset points")
        text.set(va="center", ha={0.0: "left", 0.5: "center", 1.0: "right"}[share], in_layout=False)


def _bars(axes: Axes, points: Sequence[Point]) -> Iterator[list[tuple[float, float]]]:
    """Both ends of each interval's bar on the figure."""
    for point in points:
        if point.quality_ends:
            yield [_place(axes, point.cost, end) for end in point.quality_ends]
        if point.cost_ends:
            yield [_place(axes, end, point.quality) for end in point.cost_ends]


def _place(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Where something lies on the figure, in points (1/72 inch)."""
    across, up = axes.transData.transform((x, y)) * 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    return float(across), float(up)


def new_axes(labels: Labels, *, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure with one plot, `height` inches high; draw within `rc_context(STYLE)`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(labels.x)
    axes.set_ylabel(labels.y)
    return figure, axes


def _legend(axes: Axes, drawn: Sequence[Any], names: Sequence[str]) -> None:
    """Below the plot, in as many columns as have room for the longest name."""
    count = len(drawn)
    if count > 1:  # names are given here, as matplotlib leaves out those of labels that begin with _
        columns = max(1, min(4, int(WIDTH / (0.6 + 0.075 * max(map(len, names))))))
        ncols = math.ceil(count / math.ceil(count / columns))
        axes.figure.legend(drawn, names[:count], loc="outside lower center", ncols=ncols, handlelength=2.2)  # type: ignore[union-attr]


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each name, in order of first appearance."""
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(dict.fromkeys(names))
    }


def _first_number(category: str) -> float:
    found = re.match(r"\d+", category)
    return float(found[0]) if found else math.inf


def svg_of(figure: Figure, title: str) -> str:
    """The figure as SVG text, the same bytes each time."""
    buffer = io.StringIO()
    figure.canvas.print_svg(buffer, metadata=NO_METADATA)  # type: ignore[attr-defined]
    svg = buffer.getvalue()
    head, body = svg[svg.index("<svg") :].split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*pt"', "", head)
    label = html.escape(title)
    svg = f'{head} role="img" aria-label="{label}">\n <title>{label}</title>{body}'
    font = "'DejaVu Sans'"
    svg = _in_tags(svg, lambda tag: tag.replace(INK, "currentColor").replace(font, f"system-ui, {font}, sans-serif"))
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def standalone(svg: str) -> str:
    """A plot as a file of its own, which follows its reader's choice of light or dark."""
    return svg.replace("</title>", f"</title>\n {THEME}", 1)


def inline(svg: str, prefix: str) -> str:
    """A plot as part of a page: its identifiers get a prefix, so that several plots do not share one."""
    return _in_tags(svg, lambda tag: re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", tag))


def _in_tags(svg: str, change: Callable[[str], str]) -> str:
    """Changes the tags, and leaves the text between them, such as names, as it is."""
    return re.sub(r"<[^>]*>", lambda tag: change(tag[0]), svg)
