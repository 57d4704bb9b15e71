"""Results are complete, valid, and name no machine's paths."""

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from evidence import results
from evidence.results import command, commit, machine, read_result, read_results, write_result
from seqdistill.errors import UserError

ROWS = [{"system": "student", "data": "distilled", "seed": 1, "bleu": 31.5, "bleu_signature": "nrefs:1", "note": None}]


def write(folder: Path, name: str = "table-2", **changes) -> Path:
    content = {
        "claim": "It holds.",
        "figures": {"bleu": 31.5, "seeds": 3},
        "rows": ROWS,
        "started": time.monotonic() - 5,
    }
    return write_result(name, path=folder, **(content | changes))


def test_what_is_written_is_read_back(tmp_path):
    path = write(tmp_path)
    assert path == tmp_path / "table-2.json"
    content = json.loads(path.read_text())
    assert list(content) == ["claim", "command", "commit", "machine", "wall_seconds", "figures", "rows"]
    assert content["rows"] == ROWS
    assert 5 <= content["wall_seconds"] < 60
    assert content["machine"]["torch"] == version("torch")
    assert content["machine"]["cores"] >= 1
    assert str(Path.home()) not in path.read_text()
    write(tmp_path, "a")
    found = read_results(tmp_path)
    assert list(found) == ["a", "table-2"]
    assert found["table-2"].model_dump() == content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figures": {"bleu": float("nan")}}, r"figures\.bleu: .*finite number"),
        ({"rows": [{"system": ["a", "b"]}]}, r"rows\.0\.system: .*expected text, a finite number"),
        ({"rows": [{"bleu": float("inf")}]}, r"rows\.0\.bleu: "),
        ({"claim": ""}, r"claim: "),
        ({"name": "Table 2"}, r"result name 'Table 2': expected lower-case words"),
    ],
)
def test_bad_results_are_refused_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder of results"):
        read_results(tmp_path / "gone")
    path = write(tmp_path)
    content = json.loads(path.read_text())
    del content["commit"]
    path.write_text(json.dumps(content | {"colour": "blue"}))
    with pytest.raises(UserError, match=r"table-2\.json: not a result: commit: Field required.*colour: Extra inputs"):
        read_result(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"table-2\.json: not valid JSON"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/python3", "benchmarks/sru.py", "--threads", "1"], "python benchmarks/sru.py --threads 1"),
        (["python", "/home/me/repo/benchmarks/sru.py"], "python benchmarks/sru.py"),
        (["python", "-m", "seqdistill", "run", "recipes/demo.toml"], "python -m seqdistill run recipes/demo.toml"),
        (["/env/bin/python", "/env/bin/seqdistill", "run", "a.toml"], "seqdistill run a.toml"),
        (["python", "a.py", "--data=/home/me/shared/x", "/home/me/repo/out"], "python a.py --data=../shared/x out"),
        (["python", "a.py", "/scratch/secret/corpus"], "python a.py corpus"),
    ],
)
def test_a_command_has_no_absolute_path(argv, expected):
    assert command(argv, Path("/home/me/repo")) == expected


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_commit_is_dirty_when_tracked_files_differ(tmp_path):
    assert commit(tmp_path) == "unknown"
    (tmp_path / "results").mkdir()
    (tmp_path / "below").mkdir()
    for name in ("code.py", "results/a.json"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = commit(tmp_path)
    assert len(head) == 40
    (tmp_path / "results" / "a.json").write_text("2")
    (tmp_path / "untracked").write_text("3")
    assert commit(tmp_path / "below") == head
    (tmp_path / "code.py").write_text("2")
    assert commit(tmp_path / "below") == f"{head}-dirty"


def test_the_accelerator_is_named_only_when_used():
    assert "torch" in sys.modules
    assert machine().accelerator is None
    assert results.machine().memory_gb > 0
