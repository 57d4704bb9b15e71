"""Tables between markers say what results/*.json say, here and in the repository's own documents."""

import json
import time
from pathlib import Path

import pytest

from evidence import tables
from evidence.results import read_results, write_result
from evidence.tables import contents, main, markdown, refresh, rewritten, stale
from seqdistill.errors import UserError
from seqdistill.reports.columns import best_rows, columns_of, signatures_of, written

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = [
    {"system": "teacher", "bleu": 37.204, "parameters": 7_600_000, "sentences_per_second": 40, "bleu_signature": "s|1"},
    {
        "system": "SRU | real",
        "bleu": 30.1,
        "parameters": 3_100_000,
        "sentences_per_second": 425,
        "bleu_signature": "s|1",
    },
    {"system": "NAT", "bleu": None, "parameters": None, "sentences_per_second": 904.6},
]


def test_the_repositorys_own_tables_are_fresh():
    """Run `make results` after adding or changing a result."""
    assert [str(path.relative_to(REPOSITORY)) for path in stale(REPOSITORY)] == []


@pytest.fixture
def root(tmp_path) -> Path:
    """A repository with one result, shown in README and in a document below docs."""
    write_result(
        "speed",
        claim="Fast.",
        figures={"ratio": 10.625},
        rows=ROWS,
        started=time.monotonic(),
        path=tmp_path / "results",
    )
    text = "# Title\n<!-- results:speed -->\nold\n<!-- /results -->\nend\n"
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "docs" / "more").mkdir(parents=True)
    (tmp_path / "docs" / "more" / "page.md").write_text(text)
    return tmp_path


def test_refreshing_twice_changes_once(root):
    changed = {path.relative_to(root).as_posix() for path in refresh(root)}
    figures = {"docs/figures/speed-speed.svg", "docs/figures/speed-size.svg"}
    assert changed == {"README.md", "docs/more/page.md", *figures}
    assert refresh(root) == stale(root) == []
    text = (root / "README.md").read_text()
    assert text.startswith(
        "# Title\n<!-- results:speed -->\n\n*Fast.*\n\n| System | BLEU | Parameters | Sentences/s |\n"
    )
    assert text.endswith("\n\n<!-- /results -->\nend\n")
    assert "(results/speed.json)" in text
    assert "(../../results/speed.json)" in (root / "docs" / "more" / "page.md").read_text()


def test_figures_that_the_table_shows_are_not_repeated_and_intervals_stand_with_theirs(tmp_path):
    figures = {"nat_bleu": 30.1, "gain_bleu": 1.25, "gain_low": 0.5, "gain_high": 2.0, "below_low": 3.0}
    write_result("gains", claim="Better.", figures=figures, rows=ROWS, started=time.monotonic(), path=tmp_path)
    text = markdown("gains", read_results(tmp_path)["gains"], results="results").lower()
    assert "\n\ngain bleu **1.250** [0.500, 2.000] · below low **3**\n\n" in text


def test_the_ends_of_an_interval_stand_in_the_cell_of_its_value(tmp_path):
    rows = [{"corpus": "one", "complexity": 1.5, "complexity_low": 1.4, "complexity_high": 1.62, "below_low": 3}]
    rows += [{"corpus": "other", "complexity": 1.75}]
    write_result(
        "ends", claim="Simple.", figures={"complexity": 1.5}, rows=rows, started=time.monotonic(), path=tmp_path
    )
    table = markdown("ends", read_results(tmp_path)["ends"], results="results")
    assert "| one | **1.500** [1.400, 1.620] | 3 |\n| other | 1.750 | – |" in table


def test_a_table_edited_by_hand_and_a_figure_without_result_are_stale(root):
    refresh(root)
    readme = root / "README.md"
    readme.write_text(readme.read_text().replace("37.20", "38.20"))
    (root / "docs" / "figures" / "gone-speed.svg").write_text("<svg/>")
    assert [path.name for path in stale(root)] == ["README.md", "gone-speed.svg"]
    refresh(root)
    assert "37.20" in readme.read_text()
    assert not (root / "docs" / "figures" / "gone-speed.svg").exists()


def test_markdown_by_hand(root):
    lines = markdown("speed", read_results(root / "results")["speed"], results="results").split("\n")
    assert lines[2:10] == [
        "| System | BLEU | Parameters | Sentences/s |",
        "| --- | ---: | ---: | ---: |",
        "| teacher | **37.20** | 7.6 M | 40 |",
        "| SRU \\| real | 30.10 | 3.1 M | 425 |",
        "| NAT | – | – | **905** |",
        "",
        "ratio **10.62**",
        "",
    ]
    assert lines[10] == "- `BLEU: s|1`"


def test_numbers_of_a_column_have_the_same_digits():
    assert written("anything", [1.5, 2, None, True, "x"]) == ["1.500", "2.000", "–", "yes", "x"]
    assert written("anything", [0.01234, 0.5]) == ["0.012", "0.500"]
    assert written("anything", [123.456, 7.0]) == ["123.5", "7.0"]
    assert written("anything", [1, 2, 3000]) == ["1", "2", "3000"]
    assert written("anything", [9000, 12000]) == ["9,000", "12,000"]
    assert written("p_value", [0.000999]) == ["0.0010"]


def test_the_best_is_marked_by_the_columns_direction():
    assert best_rows("bleu", [30.0, 37.0, None]) == {1}
    assert best_rows("ter", [30.0, 37.0]) == {0}
    assert best_rows("bleu", [30.001, 30.002, 29.0]) == {0, 1}
    assert best_rows("bleu", [30.0, 30.0]) == best_rows("bleu", [30.0]) == best_rows("seed", [1, 2]) == set()


def test_signatures_leave_the_table():
    assert columns_of(ROWS) == ["system", "bleu", "parameters", "sentences_per_second"]
    assert signatures_of(ROWS) == ["BLEU: s|1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- results:sped -->\n<!-- /results -->", r"docs/a\.md, line 2: no result 'sped'.*did you mean 'speed'"),
        ("<!-- results:speed -->\n", r"docs/a\.md, line 1: the marker is not closed"),
        ("<!-- /results -->\n", r"docs/a\.md, line 1: .* without a <!-- results:NAME --> before it"),
        ("<!-- results:speed -->\n<!-- results:speed -->", r"docs/a\.md, line 2: .*inside of line 1"),
    ],
)
def test_wrong_markers_are_named(root, text, message):
    with pytest.raises(UserError, match=message):
        rewritten(text, read_results(root / "results"), document=Path("docs/a.md"))


def test_the_command_writes_or_checks(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert main(["--check"]) == 1
    assert "differs: README.md" in capsys.readouterr().out
    assert main([]) == 0
    assert "wrote: README.md" in capsys.readouterr().out
    assert main(["--check"]) == 0
    (root / "README.md").write_text("<!-- results:speed -->")
    assert main([]) == 2
    assert "README.md, line 1: the marker is not closed" in capsys.readouterr().err


def test_documents_without_markers_stay_as_they_are(root):
    path = root / "docs" / "plain.md"
    path.write_bytes(b"no marker\n\n\nat all")
    assert contents(root)[path] == "no marker\n\n\nat all"
    assert Path("results") == tables.RESULTS
    assert json.loads((root / "results" / "speed.json").read_text())["claim"] == "Fast."
