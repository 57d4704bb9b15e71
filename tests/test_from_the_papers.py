"""docs/from-the-papers.md: every number of both papers has a row, and everything a row names exists."""

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "from-the-papers.md").read_text(encoding="utf-8")
LIN, ZHOU = PAGE.split("\n## ")[1:]
NUMBERS = {"equation": (7, 9), "algorithm": (2, 0), "table": (8, 5), "figure": (1, 8)}
"""Of Lin et al. 2020 and of Zhou et al. 2020, whose appendix has more tables than the fifth, none of which is used."""


def named(section: str, kind: str) -> set[int]:
    """Numbers of a kind that have a row, `equations 5 to 9` being five."""
    rows = re.findall(rf"^\| {kind}s? (\d+)(?: to (\d+))? \|", section, re.MULTILINE)
    return {number for first, last in rows for number in range(int(first), int(last or first) + 1)}


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_number_has_a_row(kind):
    for section, count in zip((LIN, ZHOU), NUMBERS[kind], strict=True):
        assert named(section, kind) == set(range(1, count + 1))


@pytest.mark.parametrize("entry", sorted(set(re.findall(r"`([^`]*\.(?:py: [^`]*|toml|json))`", LIN + ZHOU))))
def test_what_a_row_names_exists(entry):
    file, _, names = entry.partition(": ")
    folder = ROOT if file.startswith(("papers/", "evidence/", "results/")) else ROOT / "src" / "seqdistill"
    assert (folder / file).is_file()
    if names:
        path = file if folder == ROOT else f"seqdistill/{file}"
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for name in names.split(", "):
            assert attrgetter(name)(module) is not None


def test_nothing_else_is_named():
    """What is in code quotes in a table is a file, with names if it is one of code."""
    rows = "\n".join(line for line in (LIN + ZHOU).splitlines() if line.startswith("|"))
    quoted = re.findall(r"`([^`]*)`", rows)
    assert {entry for entry in quoted if not re.fullmatch(r"[\w/-]+\.(py: [\w., ]+|toml|json)", entry)} <= {"measure"}
