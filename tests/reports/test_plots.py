"""Plots: the same bytes each time, all numbers drawn where they belong, no name on another."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from seqdistill.reports.plots import (
    Labels,
    Line,
    Point,
    category_plot,
    inline,
    line_plot,
    share_plot,
    standalone,
    trade_off_plot,
    undominated,
)

LABELS = Labels("A <title> & more", "updates", "BLEU")
LINES = [Line("teacher", [0, 100, 200], [0.0, 10.0, 20.0]), Line("student", [0, 100, 200], [0.0, 5.0, 10.0])]
POINTS = [Point("slow", 10, 30), Point("fast", 100, 25), Point("bad", 50, 20), Point("twin", 10, 30)]


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def draw_all() -> list[str]:
    series = {"teacher": {"0-9": 30.0, "10-19": 20.0, "20+": 10.0}, "student": {"0-9": 25.0, "20+": 5.0}}
    return [
        line_plot(LINES, LABELS),
        category_plot(series, LABELS),
        trade_off_plot(POINTS, LABELS, more_is_better=True),
    ]


def test_the_same_numbers_give_the_same_bytes():
    assert draw_all() == draw_all()


def test_plots_name_their_systems_and_axes_in_text():
    for svg in draw_all():
        words = texts(svg)
        assert {"updates", "BLEU"} <= set(words)
        assert 'aria-label="A &lt;title&gt; &amp; more"' in svg
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    lines, categories, trade_off = draw_all()
    assert {"teacher", "student"} <= set(texts(lines)) & set(texts(categories))
    assert texts(categories).index("0-9") < texts(categories).index("10-19") < texts(categories).index("20+")
    assert {"slow", "fast", "bad", "twin"} <= set(texts(trade_off))


def test_intervals_are_bars_that_end_where_they_end() -> None:
    """On linear axes the parts of a bar beside its point are as long as the numbers say."""
    point = Point("a", 10.0, 30.0, cost_ends=(8.0, 13.0), quality_ends=(28.0, 33.0))
    svg = trade_off_plot([point, Point("b", 12.0, 31.0)], LABELS, more_is_better=False)
    x, y = map(float, re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*fill: #3574d4', svg)[0])
    found = re.findall(r'd="M ([\d.]+) ([\d.]+)\s+L ([\d.]+) ([\d.]+)\s*"[^>]*stroke: #3574d4', svg)
    up, across = ([float(number) for number in bar] for bar in found)
    assert up[0] == up[2] == pytest.approx(x) and across[1] == across[3] == pytest.approx(y)
    assert (y - up[3]) / (up[1] - y) == pytest.approx(3 / 2, rel=1e-3)
    assert (across[2] - x) / (x - across[0]) == pytest.approx(3 / 2, rel=1e-3)


HOSTILE = ["$x_{$", "$a$", "_hidden", "<b>&\"'", "[/x]", 'id="a"', "#010101", "'DejaVu Sans'", "日本語"]


def test_names_are_written_as_they_are() -> None:
    """$...$ was mathematics, or an error of it; a name that begins with _ was left out of the legend."""
    labels = Labels("$title_{$", "$x_{$", "y", HOSTILE)
    shares = {name: {other: 1 / len(HOSTILE) for other in HOSTILE[:8]} for name in HOSTILE}
    drawn = [
        line_plot([Line(name, [0, 1], [0, 1]) for name in HOSTILE], labels),
        category_plot({name: {"0-9": 1.0, "10+": 2.0} for name in HOSTILE}, labels),
        share_plot(shares, labels),
        trade_off_plot([Point(name, 10 + i, i) for i, name in enumerate(HOSTILE)], labels, more_is_better=True),
    ]
    for svg in drawn:
        for written in (svg, inline(svg, "prefix-1")):
            found = texts(written)
            assert not [name for name in HOSTILE if name not in found]
            assert "$x_{$" in found, "the axis too"


def test_colours_follow_the_reader():
    for svg in draw_all():
        assert "currentColor" in svg
        assert "#010101" not in svg
        assert "fill: #ffffff" not in svg
        assert "prefers-color-scheme" not in svg
        assert "prefers-color-scheme:dark" in standalone(svg)


def test_a_line_is_drawn_where_its_numbers_are():
    """Three points on a straight line stay on one, equally far apart."""
    svg = line_plot([Line("only", [0, 100, 200], [1.0, 2.0, 3.0])], LABELS)
    path = re.search(r'd="(M[^"]*)"[^>]*style="fill: none; stroke: #3574d4', svg)
    assert path
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path[1])]
    x, y = numbers[::2], numbers[1::2]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.01)
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.01)
    assert x[1] > x[0]
    assert y[1] < y[0]


def test_a_system_looks_the_same_in_every_plot():
    colour = re.compile(r"stroke: (#\w{6}); stroke-width: 1\.6|stroke: (#\w{6})")
    alone = line_plot(LINES[1:], LABELS._replace(names=["teacher", "student"]))
    assert "#d9722e" in colour.sub(r"\1\2", alone)
    assert "#3574d4" not in alone


def test_undominated_systems():
    assert [p.name for p in undominated(POINTS, more_is_better=True)] == ["slow", "twin", "fast"]
    assert [p.name for p in undominated(POINTS, more_is_better=False)] == ["slow", "twin"]


def test_identifiers_of_plots_on_one_page_differ():
    svg = draw_all()[0]
    first, second = (set(re.findall(r'\bid="([^"]+)"', inline(svg, prefix))) for prefix in ("a", "b"))
    assert first
    assert not first & second
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', inline(svg, "a")))
    assert used <= first
