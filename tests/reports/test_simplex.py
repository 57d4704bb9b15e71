"""The simplex: dots lie where the posteriors say, and two languages make a histogram."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from seqdistill.reports.simplex import BINS, CORNERS, GRID, places_of, simplex_plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def dots(svg: str) -> list[tuple[float, float]]:
    """Where markers are drawn."""
    uses = ElementTree.fromstring(svg).iter(f"{SVG}use")
    return [(float(use.attrib["x"]), float(use.attrib["y"])) for use in uses if "fill: #3574d4" in use.get("style", "")]


def test_places_are_weighted_means_of_the_corners() -> None:
    posteriors = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0.2, 0.2, 0.6], [0.2, 0.2, 0.6]])
    places, counts = places_of(posteriors)
    found = {(round(x, 9), round(y, 9)): count for (x, y), count in zip(places, counts, strict=True)}
    expected = {tuple(np.round(row @ CORNERS, 9).tolist()): 1 + (row[2] > 0) for row in posteriors}
    assert found == expected and counts.sum() == 5
    sides = [np.linalg.norm(CORNERS[a] - CORNERS[b]) for a, b in ((0, 1), (1, 2), (2, 0))]
    assert sides == pytest.approx([1, 1, 1])


def test_no_line_moves_by_more_than_a_step() -> None:
    values = np.random.default_rng(1).dirichlet([1, 1, 1], 300)
    for value in values:
        (place,), (count,) = places_of(value[None])
        assert np.linalg.norm(place - value @ CORNERS) < 1.5 / GRID and count == 1


def test_a_triangle_has_its_corners_and_shares() -> None:
    posteriors = np.repeat(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.4, 0.3, 0.3]]), [5, 3, 1, 1], axis=0)
    svg = simplex_plot(("de", "fr", "es"), posteriors, threshold=0.7, title="Languages of <nat>")
    assert svg == simplex_plot(("de", "fr", "es"), posteriors, threshold=0.7, title="Languages of <nat>")
    assert texts(svg) == ["de 50%", "fr 30%", "es 10%"] and 'aria-label="Languages of &lt;nat&gt;"' in svg
    assert "currentColor" in svg and "#010101" not in svg
    found = sorted(dots(svg))
    assert len(found) == 4
    left, right = found[0], found[-1]
    top = min(found, key=lambda dot: dot[1])
    assert left[1] == pytest.approx(right[1]) and top[0] == pytest.approx((left[0] + right[0]) / 2, abs=0.01)
    assert (left[1] - top[1]) / (right[0] - left[0]) == pytest.approx(np.sqrt(0.75), rel=1e-3)


def test_two_languages_are_a_histogram_of_every_output() -> None:
    first = np.array([0.0] * 7 + [0.26] * 2 + [1.0] * 11)
    svg = simplex_plot(("de", "fr"), np.stack([1 - first, first], axis=1), threshold=0.75, title="t")
    words = texts(svg)
    assert "de (35% alone) ← posterior of fr → fr (55% alone)" in words and "outputs" in words
    paths = [path.attrib for path in ElementTree.fromstring(svg).iter(f"{SVG}path")]
    bars = [path["d"] for path in paths if "fill: #3574d4" in path.get("style", "")]
    corners = [[float(number) for number in re.findall(r"[\d.]+", bar)][1::2] for bar in bars]
    heights = [max(y) - min(y) for y in corners]
    assert len(heights) == BINS == 20
    step = max(heights) / 11
    assert [round(height / step, 3) for height in heights] == [7, 0, 0, 0, 0, 2, *[0] * 13, 11]


@pytest.mark.parametrize("languages", [1, 4])
def test_other_numbers_of_languages_have_no_picture(languages: int) -> None:
    with pytest.raises(ValueError, match="expected two or three"):
        simplex_plot(["x"] * languages, np.full((3, languages), 1 / languages), threshold=0.7, title="t")
