"""The page in a real browser: everything is rendered, nothing is loaded."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from seqdistill.errors import UserError
from seqdistill.reports.columns import columns_of, folded, with_intervals
from seqdistill.reports.page import Curve, Example, Page, _by_position, _time, render, write_page
from seqdistill.seals import sealed_row
from seqdistill.training.log import read_log

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed to open the page with")

SYSTEMS = [
    {"system": "teacher", "data": "real", "bleu": 37.2, "parameters": 7.6e6, "milliseconds_per_sentence": 25.0},
    {"system": "<sru>", "data": "distilled", "bleu": 34.9, "parameters": 3.1e6, "milliseconds_per_sentence": 2.4},
]
LOG = [{"kind": "train", "update": 50, "loss": 5.0}] + [
    {"kind": "valid", "update": 100 * i, "loss": 5 / i, "perplexity": 9.0, "bleu": 10.0 * i} for i in (1, 2, 3)
]
MANIFEST = {"kind": "train", "options": {"model": "sru", "set": {"dim": 256}}, "wall_seconds": 430.0}
PAGE = Page(
    title="A report & more",
    intro="First paragraph.",
    systems=[row | {"bleu_signature": "nrefs:1|case:mixed"} for row in SYSTEMS],
    highlights={"Faster": "10 times"},
    curves=[Curve("teacher", LOG), Curve("<sru>", LOG)],
    by_length={"teacher": {"0-9": 40.0, "10+": 30.0}, "<sru>": {"0-9": 39.0, "10+": 25.0}},
    examples=[Example("A <b>dog</b>", "Ein Hund", {"teacher": "Ein Hund", "<sru>": "Der Hund"})],
    manifests={"train-teacher": MANIFEST},
)


class Elements(HTMLParser):
    """Counts elements, and collects attributes that could load something."""

    def __init__(self, text: str):
        super().__init__()
        self.counts: dict[str, int] = {}
        self.links: list[str] = []
        self.identifiers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [value or "" for key, value in attributes if key in ("src", "href", "xlink:href", "srcset")]
        self.identifiers += [value or "" for key, value in attributes if key == "id"]


def check_elements(elements: Elements) -> None:
    assert elements.counts["svg"] == 5  # latency, size, length, validation BLEU and loss
    assert elements.counts["table"] == 3  # systems, one example, one manifest
    assert "script" not in elements.counts
    assert [link for link in elements.links if not link.startswith("#")] == []
    assert len(elements.identifiers) == len(set(elements.identifiers))
    assert {link[1:] for link in elements.links} <= set(elements.identifiers)


def test_the_page_is_complete_and_loads_nothing():
    html = render(PAGE)
    check_elements(Elements(html))
    assert html == render(PAGE)
    assert "url(http" not in html
    assert "@import" not in html
    for text in (
        "A report &amp; more",
        "A &lt;b&gt;dog&lt;/b&gt;",
        "&lt;sru&gt;",
        "37.20",
        "7.6 M",
        "options.set.dim",
    ):
        assert text in html
    assert "<sru>" not in html
    assert "BLEU: nrefs:1|case:mixed" in html


def test_an_empty_page_has_no_empty_sections():
    elements = Elements(render(Page("Nothing yet")))
    assert not {"table", "svg", "section", "dl", "details"} & set(elements.counts)


def chromium(*arguments: str) -> str:
    assert BROWSER
    fixed = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
    done = subprocess.run([*fixed, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@needs_browser
def test_a_browser_renders_it_on_a_desk_and_on_a_phone(tmp_path: Path):
    path, shot = tmp_path / "report.html", tmp_path / "shot.png"
    write_page(PAGE, path)
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    rendered = chromium(profile, "--dump-dom", path.as_uri())
    check_elements(Elements(rendered))
    assert re.search(r'<th scope="row">&lt;sru&gt;</th>', rendered)
    for width in (1100, 500):
        chromium(profile, f"--window-size={width},1400", f"--screenshot={shot}", path.as_uri())
        pixels = matplotlib.image.imread(shot)
        assert pixels.shape[:2] == (1400, width)
        columns_with_ink = (pixels[..., :3].min(axis=2) < 0.5).any(axis=0).mean()
        assert columns_with_ink > 0.5


def test_only_pages_of_ours_are_written_over(tmp_path: Path) -> None:
    """`report --page thesis.html` wrote over the thesis."""
    page, thesis = Page("A run"), tmp_path / "thesis.html"
    thesis.write_text("<html>years of work</html>")
    with pytest.raises(UserError, match=r"thesis\.html: is there, and no page that seqdistill wrote: give"):
        write_page(page, thesis)
    assert thesis.read_text() == "<html>years of work</html>"
    with pytest.raises(UserError, match="is there, and no page"):
        write_page(page, tmp_path)
    write_page(page, tmp_path / "page.html")
    write_page(Page("Another run"), tmp_path / "page.html")
    assert "Another run" in (tmp_path / "page.html").read_text()
    (tmp_path / "link.html").symlink_to(tmp_path / "nowhere")
    write_page(page, tmp_path / "link.html")
    assert not (tmp_path / "nowhere").exists(), "a link is replaced, not followed"


def test_a_log_is_read_up_to_the_row_being_written(tmp_path):
    path = tmp_path / "log.jsonl"
    row = {"kind": "valid", "update": 1, "bleu": 31.25}
    path.write_text(sealed_row(row) + '\n{"kind": "va')
    assert read_log(path) == [row]
    whole = f"{sealed_row(row)}\n{sealed_row(row)}\n".encode()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"log\.jsonl, line [12]: was altered since it was written"):
            assert read_log(path) != [row, row]
    with pytest.raises(UserError, match="no such log"):
        read_log(tmp_path / "gone.jsonl")


def test_trainings_with_a_teacher_show_what_they_logged() -> None:
    def rows(**figures: float) -> list[dict[str, Any]]:
        return [
            {"kind": "train", "update": 10 * i, "teacher_time_share": 0.2 + i / 100} | figures for i in range(1, 11)
        ]

    static = Curve("word-level", rows(rollout_share=0.0, divergence_from_1=2.0, divergence_from_5=3.0))
    rolled = Curve(
        "imitator", rows(rollout_share=0.5, truncated_share=0.1, rollout_time_share=0.3, divergence_from_1=1)
    )
    hard = Curve("hard", rows(disagreement_from_1=0.4))
    page = Page("t", curves=[Curve("teacher", LOG), static, rolled, hard])
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", render(page))
    assert titles[2:] == [  # after BLEU and loss
        "Targets that are roll-outs of the student",
        "Roll-outs cut off at the length limit",
        "Divergence from the teacher by position",
        "Labels that differ from the target by position",
        "Where the time of an update goes",
    ]
    assert _by_position(static.rows, "divergence") == {"1-4": 2.0, "5+": 3.0}
    assert _time(rolled.rows) == pytest.approx({"roll-outs": 0.3, "teacher": 0.295, "student": 0.405})
    assert "imitation-heading" not in render(Page("t", curves=[Curve("teacher", LOG)]))


def test_an_interval_stands_behind_its_value() -> None:
    """With the digits of the column; not where one end is missing, nor of a column that has no value of its own."""
    rows = [
        {"system": "a", "bleu": 30.123, "bleu_low": 29.0, "bleu_high": 31.456, "low": 1.0},
        {"system": "b", "bleu": 9.0, "bleu_low": None, "bleu_high": 10.0, "low": 2.0},
    ]
    assert folded(columns_of(rows)) == ["system", "bleu", "low"]
    assert with_intervals("bleu", rows) == ["30.12 [29.00, 31.46]", "9.00"]
    html = render(Page("Title", systems=rows))
    assert "30.12 [29.00, 31.46]" in html and "bleu low" not in html
