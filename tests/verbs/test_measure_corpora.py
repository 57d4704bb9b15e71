"""`measure` from the command line: text, tables and data directories; what it writes; killed and continued; refused."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from seqdistill.data.directory import DataDirectory
from seqdistill.data.retarget import retarget
from seqdistill.files import read_json
from seqdistill.measures.alignment import Alignment, align
from seqdistill.measures.bitext import read_bitext
from seqdistill.measures.lexicon import LexicalTable
from seqdistill.measures.links import read_pharaoh
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.options import AlignerOptions, PrepareOptions
from seqdistill.progress import Silent
from seqdistill.stages import run_stage

WORDS = ["sun", "moon", "sea", "wind", "rain", "snow"]
PLAIN = ["--source", "sources.txt", "--source-tokenizer", "none", "--target-tokenizer", "none", "--samples", "50"]


def sentences() -> list[list[str]]:
    generator = np.random.default_rng(1)
    return [[WORDS[i] for i in generator.integers(len(WORDS), size=generator.integers(3, 12))] for _ in range(60)]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources; real targets with two translations of each word, half of them reversed; distilled ones with one."""
    monkeypatch.chdir(tmp_path)
    lines, rng = sentences(), np.random.default_rng(2)
    real = [[f"{word}-{rng.integers(2)}" for word in line][:: 1 if rng.random() < 0.5 else -1] for line in lines]
    targets = {
        "sources.txt": lines,
        "real.txt": real,
        "tiny.txt": [[f"{word}-0" for word in line] for line in lines],
        "big.txt": [[f"{word}-{min(1, at % 3)}" for at, word in enumerate(line)] for line in lines],
    }
    for name, rows in targets.items():
        (tmp_path / name).write_text("".join(" ".join(row) + "\n" for row in rows))
    return tmp_path


class Tags(HTMLParser):
    """Counts tags; every reference must stay in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                assert value is not None and value.startswith("#")


def test_a_table_a_page_links_tables_and_advice(text: Path, call) -> None:
    code, output, errors = call(
        *["measure", "tiny.txt", "big.txt", "--real", "real.txt", "--text-table", "--links", "union", "--out", "out"],
        *PLAIN,
    )
    assert code == 0, errors
    rows = [line.split() for line in output.splitlines()[1:4]]
    assert [row[0] for row in rows] == ["real.txt", "tiny.txt", "big.txt"]
    assert (
        "nat (vanilla NAT): train it on tiny.txt" in output
        and "Levenshtein Transformer): train it on big.txt" in output
    )
    assert "page: out/measures.html" in output
    results = read_json(Path("out/manifest.json"))["results"]
    real, tiny, big = results["corpora"]
    assert real["complexity"] > big["complexity"] > 0.2 > tiny["complexity"]  # nothing left but what four fits leave
    assert "faithfulness" not in real and tiny["faithfulness"] > big["faithfulness"] > 0
    assert real["reordering"] < tiny["reordering"] == 1
    for folder in ("real.txt", "tiny.txt", "big.txt"):
        links = {name: read_pharaoh(Path(f"out/{folder}/{name}.pharaoh")) for name in ("forward", "reverse", "union")}
        for pair in range(60):
            both = {*links["forward"].pair(pair), *links["reverse"].pair(pair)}
            assert set(links["union"].pair(pair)) == both
        table = LexicalTable.load(Path(f"out/{folder}/table.npz"))
        with gzip.open(f"out/{folder}/table.tsv.gz", "rt") as file:
            entries = [line.split("\t") for line in file.read().splitlines()]
        assert len(entries) == len(table.targets)
        assert {target: float(chance) for source, target, chance in entries if source == "sun"} == pytest.approx(
            table.row("sun"), rel=1e-5
        )
        with Path(f"out/{folder}/sentences.tsv").open() as file:
            by_sentence = list(csv.DictReader(file, delimiter="\t"))
        assert [int(row["line"]) for row in by_sentence] == list(range(1, 61))
        tokens = sum(float(row["source_length"]) for row in by_sentence)
        by_token = sum(float(row["complexity"]) for row in by_sentence) / tokens
        found = next(row for row in results["corpora"] if row["corpus"] == folder)
        assert by_token == pytest.approx(found["complexity_by_token"], rel=1e-4)
    tags = Tags()
    tags.feed(Path("out/measures.html").read_text())
    assert tags.counts["svg"] == 4 + 2 + 3


def test_python_and_command_line_agree(text: Path, call) -> None:
    assert call("measure", "tiny.txt", *PLAIN, "--out", "out")[0] == 0
    plain = create_tokenizer(name="none", normalization="nmt_nfkc")
    pairs = list(zip(*(Path(name).read_text().splitlines() for name in ("sources.txt", "tiny.txt")), strict=True))
    bitext = read_bitext(pairs, plain, plain, name="tiny.txt")
    ours = align(bitext)
    written = Alignment.load(Path("out/tiny.txt"), bitext, AlignerOptions())
    assert np.array_equal(ours.table.probabilities, written.table.probabilities)
    assert ours.forward.pair(3) == written.forward.pair(3) and ours.tensions == written.tensions


def test_the_heat_map_is_the_models_posterior(text: Path) -> None:
    plain = create_tokenizer(name="none")
    pairs = list(zip(*(Path(name).read_text().splitlines() for name in ("sources.txt", "real.txt")), strict=True))
    alignment = align(read_bitext(pairs, plain, plain, name="real"))
    shades = alignment.posteriors(4)
    source, target = (side.split() for side in pairs[4])
    assert shades.shape == (len(source), len(target)) and shades.sum(axis=0) == pytest.approx(1)
    slow = np.array(
        [
            [
                alignment.table.row(one)[other] * np.exp(-4 * abs((i + 1) / len(source) - (j + 1) / len(target)))
                for j, other in enumerate(target)
            ]
            for i, one in enumerate(source)
        ]
    )
    prior = np.array(
        [
            [np.exp(-4 * abs((i + 1) / len(source) - (j + 1) / len(target))) for j in range(len(target))]
            for i in range(len(source))
        ]
    )
    slow /= prior.sum(axis=0)
    assert shades == pytest.approx(slow / slow.sum(axis=0))


def test_data_directories_keep_their_lines_where_a_teacher_wrote_nothing(text: Path, call) -> None:
    (text / "valid.txt").write_text("sun rain\n")
    options = {"source": text / "sources.txt", "target": text / "real.txt", "vocab_size": 60, "lowercase": True}
    options |= {"valid_source": text / "valid.txt", "valid_target": text / "valid.txt", "keep_duplicates": True}
    run_stage("prepare", PrepareOptions.read(options, where="test"), text / "data", Silent(), title="data")
    data = DataDirectory.open(text / "data")
    targets = ["" if at % 7 == 3 else f"X {line}" for at, line in enumerate(data.train.targets())]
    retarget(data, targets, text / "distilled")
    code, output, errors = call("measure", "distilled", "--real", "data", "--samples", "50", "--out", "out")
    assert code == 0, errors
    real, distilled = read_json(Path("out/manifest.json"))["results"]["corpora"]
    num_empty = sum(not target for target in targets)
    assert real["lines"] == distilled["lines"] == len(targets)
    assert distilled["skipped_one_sided"] == num_empty and distilled["pairs"] == len(targets) - num_empty
    assert f"distilled: skipped {num_empty} one-sided of {len(targets)} lines" in output
    assert "case:lc" in distilled["complexity_signature"]  # as the data directory was prepared


def test_killed_at_any_moment_it_continues_to_the_same_bytes(text: Path, call) -> None:
    words = ["measure", "tiny.txt", "big.txt", "--real", "real.txt", *PLAIN, "--workers", "1"]
    assert call(*words, "--out", "whole")[0] == 0
    program = [sys.executable, str(Path(__file__).parents[1] / "end_to_end" / "killed_runs.py"), "6", "12", "killed"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, "killed2", "killed3", "--", *words], cwd=text, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout.splitlines()[-1])["kills"].values()) == 6
    for killed in (path for path in text.glob("killed*") if (path / "manifest.json").exists()):
        for path in (text / "whole").rglob("*"):
            if path.is_file() and path.name not in ("manifest.json", ".lock"):
                assert path.read_bytes() == (killed / path.relative_to(text / "whole")).read_bytes(), path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("measure short.txt --real real.txt", "(?s)60.*59"),
        ("measure gone.txt", "gone.txt: no such file"),
        ("measure tiny.txt --student natt", "unknown student 'natt'"),
        ("measure tiny.txt --links unio", "unknown symmetrisation 'unio'"),
        ("measure tiny.txt --reordering-links gdfa", "unknown symmetrisation 'gdfa'"),
        ("measure tiny.txt --samples 5", "'samples': Input should be greater than or equal to 40"),
        ("measure tiny.txt --em-iterations 1", "'em_iterations': Input should be greater than or equal to 2"),
        ("measure tiny.txt --smoothing 0", "smoothing"),
        ("measure tiny.txt --alpha inf", "'alpha': Input should be a finite number, but it is inf"),
        ("measure tiny.txt --sentence 99", "sentence = 99: tiny.txt has 60 lines; name one of them"),
        ("measure tiny.txt --scratch gone", "scratch = gone: no such folder"),
        ("measure hole.txt --sentence 2", "sentence = 2: no corpus has words on both sides at this line"),
        ("measure lone.txt --real real.txt", "lone.txt and the real corpus real.txt have 1 line in common"),
        ("measure blank.txt", "blank.txt: none of its 60 lines has words on both sides"),
        ("measure tiny.txt tiny.txt", "a corpus is named twice"),
        ("measure one.txt --source one-source.txt", "1 sentence pair: intervals resample sentences"),
    ],
)
def test_mistakes_are_named_and_nothing_is_left(text: Path, call, words: str, message: str) -> None:
    (text / "short.txt").write_text("x\n" * 59)
    (text / "blank.txt").write_text("\n" * 60)
    (text / "one.txt").write_text("x y\n")
    (text / "hole.txt").write_text("x\n\n" + "y\n" * 58)
    (text / "lone.txt").write_text("x\n" + "\n" * 59)
    (text / "one-source.txt").write_text("a b\n")
    verb, *others = words.split()
    code, _, errors = call(verb, *([] if "--source" in others else PLAIN), *others, "--out", "out")
    assert code == 2 and errors.splitlines()[-1].startswith("error: ") and "Traceback" not in errors
    assert not Path("out").exists() or {path.name for path in Path("out").iterdir()} <= {".lock"}
    assert re.search(message, errors), errors


def test_other_sources_are_found_before_anything_is_aligned(text: Path, call) -> None:
    for name, source in (("real.tsv", "c c"), ("tiny.tsv", "c d")):
        Path(name).write_text("source\ttarget\na b\tx y\n\t\n" + f"{source}\tz z\n" * 2)
    words = ["measure", "tiny.tsv", "--real", "real.tsv", *PLAIN[2:], "--out", "out"]
    code, _, errors = call(*words)
    assert code == 2 and "line 3: the source of tiny.tsv is 'c d', that of the real corpus real.tsv is 'c c'" in errors
    assert not list(Path("out").glob("*.tsv"))
    Path("tiny.tsv").write_text(Path("real.tsv").read_text().replace("z z", "z"))
    code, _, errors = call(*words)
    assert code == 0, errors


def test_names_are_of_one_folder_each(text: Path, call) -> None:
    """Both were written into a-b.txt."""
    for name in ("a b.txt", "a-b.txt"):
        Path(name).write_text(Path("tiny.txt").read_text())
    code, _, errors = call("measure", "a b.txt", "a-b.txt", *PLAIN, "--out", "out")
    assert code == 0, errors
    assert [row["corpus"] for row in read_json(Path("out/manifest.json"))["results"]["corpora"]] == [
        "a-b.txt",
        "a-b.txt-2",
    ]
    assert Path("out/a-b.txt/sentences.tsv").read_bytes() == Path("out/a-b.txt-2/sentences.tsv").read_bytes()


def test_a_corpus_may_be_called_as_a_file_of_the_stage(text: Path, call) -> None:
    Path("manifest.json").write_text(Path("tiny.txt").read_text())
    code, _, errors = call("measure", "manifest.json", *PLAIN, "--out", "out")
    assert code == 0, errors
    (row,) = read_json(Path("out/manifest.json"))["results"]["corpora"]
    assert row["corpus"].endswith("-manifest.json") and Path("out", row["corpus"], "sentences.tsv").exists()


def test_the_number_of_workers_changes_no_byte(text: Path, call) -> None:
    for workers in ("1", "2"):
        words = ["measure", "tiny.txt", "--real", "real.txt", *PLAIN, "--workers", workers, "--out", f"out{workers}"]
        assert call(*words)[0] == 0
    written = [
        path for path in Path("out1").rglob("*") if path.is_file() and path.name not in ("manifest.json", ".lock")
    ]
    assert len(written) == 2 * 6 + 1
    for path in written:
        assert path.read_bytes() == Path("out2", path.relative_to("out1")).read_bytes(), path


def test_what_does_not_exist_is_null_and_a_dash(text: Path, call) -> None:
    """A lexicon: no line has an order of words."""
    Path("words.txt").write_text("".join(f"{word}\n" for word in WORDS * 3))
    Path("entries.txt").write_text("".join(f"{word}-1\n" for word in WORDS * 3))
    plain = [*PLAIN, "--source", "words.txt"]
    code, output, errors = call("measure", "entries.txt", *plain, "--out", "out")
    assert code == 0 and "nan" not in output + errors + Path("out/measures.html").read_text().lower().split("<svg")[0]
    results = read_json(Path("out/manifest.json"))["results"]
    assert [results["corpora"][0][f"reordering{end}"] for end in ("", "_low", "_high")] == [None] * 3
    assert results["table"]["Reordering score"] == ["–"]


def test_files_of_targets_need_their_sources(text: Path, call) -> None:
    code, _, errors = call("measure", "tiny.txt", "--out", "out")
    assert code == 2 and "if it is a file of targets, give their sources with --source" in errors
    (text / "data").mkdir()
    code, _, errors = call("measure", "data", *PLAIN, "--out", "out")
    assert code == 2 and "with --source every corpus is a file of targets" in errors


def test_tables_with_columns_of_other_names_and_the_same_file_name(text: Path, call) -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        lines = zip(*(Path(name).read_text().splitlines() for name in ("sources.txt", "tiny.txt")), strict=True)
        Path(folder, "text.jsonl").write_text("".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in lines))
    words = ["measure", "one/text.jsonl", "two/text.jsonl", "--source-column", "a", "--target-column", "b"]
    code, _, errors = call(*words, "--samples", "50", "--out", "out")
    assert code == 0, errors
    corpora = read_json(Path("out/manifest.json"))["results"]["corpora"]
    assert [row["corpus"] for row in corpora] == ["one-text.jsonl", "two-text.jsonl"]
    assert corpora[0]["complexity"] == corpora[1]["complexity"]
