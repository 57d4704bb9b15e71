"""Python's functions: README's example, the options of the command line, what importing costs, errors."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verb_options import VERBS

import seqdistill
from seqdistill.commands import COMMANDS

README = Path(__file__).parents[1] / "README.md"
SMALL: dict[str, dict[str, Any]] = {
    "prepare": {"vocab_size": 60},
    "train": {
        "max_updates": 2,
        "validate_every": 2,
        "batch_tokens": 256,
        "set": {"dim": 16},
        "learning_rate": 1e-3,
        "warmup": 1,
    },
    "distill": {"max_ratio": 0.5},
    "evaluate": {"max_ratio": 0.5, "speed_lines": 1},
}
WORDS = ["lamp", "door", "heat", "light", "open", "closed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files README's example names."""
    folder = tmp_path_factory.mktemp("api")
    lines = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]
    for name, part in {"train": lines[:150], "valid": lines[150:170], "test": lines[170:190]}.items():
        (folder / f"{name}.en").write_text("".join(f"{line}\n" for line in part))
        (folder / f"{name}.de").write_text("".join(f"{line[::-1]}\n" for line in part))
    return folder


def smaller(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    return lambda **given: function(**given | options)


@pytest.fixture(scope="module")
def example(folder: Path) -> dict[str, Any]:
    """README's example, run in that folder with small models; its variables."""
    code = re.search(r"^## From Python\n.*?^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    assert code is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, options in SMALL.items():
            patch.setattr(seqdistill, name, smaller(getattr(seqdistill, name), options), raising=False)
        variables: dict[str, Any] = {}
        exec(compile(code[1], "README.md", "exec"), variables)
    return variables


@pytest.mark.slow
def test_the_example_of_readme_runs(example: dict[str, Any], folder: Path) -> None:
    assert example["scores"]["bleu"] == json.loads((folder / "student-scores" / "scores.json").read_text())["bleu"]
    assert [row.metric for row in example["rows"]] == ["bleu", "chrf", "ter"]
    assert len(example["translations"]) == 2 and all(isinstance(line, str) for line in example["translations"])


@pytest.mark.slow
def test_python_and_the_command_line_find_each_others_work_done(
    example: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    text = {"source": "train.en", "target": "train.de", "valid_source": "valid.en", "valid_target": "valid.de"}
    again = seqdistill.prepare(**text, **SMALL["prepare"], out="data")
    assert again["pairs_kept"] == 150 if "pairs_kept" in again else again
    words = [word for name, value in text.items() for word in (f"--{name.replace('_', '-')}", value)]
    done = subprocess.run(
        [sys.executable, "-m", "seqdistill", "prepare", *words, "--vocab-size", "60", "--out", "data"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_loaded_model_decodes_as_translate_does(
    example: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    model = seqdistill.load("teacher", beam=2, max_ratio=0.5)
    lines = (folder / "test.en").read_text().splitlines()
    command = [sys.executable, "-m", "seqdistill", "translate", "--model", "teacher", "--max-ratio", "0.5"]
    with (folder / "test.en").open("rb") as source:
        printed = subprocess.run([*command, "--beam", "3"], stdin=source, capture_output=True, text=True, check=True)
    assert model.translate(lines, beam=3) == printed.stdout.splitlines()
    best = model.hypotheses(lines[:3], n_best=2)
    assert [len(found) for found in best] == [2, 2, 2]
    assert [found[0].text for found in best] == model.translate(lines[:3])
    assert model.translate(["", " "]) == ["", ""] and model.translate([]) == []
    finished = [found[0] for found in best if found[0].text]
    scored = model.scores(lines[: len(finished)], [found.text for found in finished])
    assert all(score < 0 for score in scored)
    begun = model.translate(lines[:2], prefix=["pmal", "rood"], beam=1)
    assert [line.split()[0][:4] for line in begun] == ["pmal", "rood"]
    assert [line[:4] for line in model.translate(lines[:2], prefix="pmal")] == ["pmal", "pmal"]
    both = seqdistill.load("teacher", engine="ctranslate2", beam=1, max_ratio=0.5).translate(lines)
    assert both == model.translate(lines, beam=1)


@pytest.mark.slow
def test_workers_start_from_a_script_that_has_no_guard(example: dict[str, Any], folder: Path) -> None:
    """Such a script, imported again in every worker, would begin again there."""
    script = folder / "script.py"
    script.write_text(
        "import seqdistill\nprint('begun')\n"
        "seqdistill.distill(teacher='teacher', data='data', max_ratio=0.5, workers=2, out='twice', quiet=True)\n"
    )
    done = subprocess.run([sys.executable, script.name], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n", "")


FUNCTIONS = [verb for verb in VERBS if verb != "translate"]


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_every_option_is_in_the_signature_and_explained(verb: str) -> None:
    function = getattr(seqdistill, verb.split()[-1].replace("-", "_"))
    parameters = inspect.signature(function).parameters
    for name, option in VERBS[verb].offered().items():
        required = parameters[name].default is inspect.Parameter.empty
        assert required == option.required and (required or parameters[name].default == option.default)
        assert f"    {name}: " in function.__doc__
    assert function.__doc__.startswith(COMMANDS[verb].help[:40]) and function.__name__ in seqdistill.__all__


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: seqdistill.train(data="d", model="sru", warm_up=3, out="o"),
            "seqdistill.train: unknown key 'warm_up'",
        ),
        (lambda: seqdistill.train(model="sru", out="o"), "seqdistill.train: 'data' is required: Data directory"),
        (lambda: seqdistill.train(data="none", model="sru", out="o"), "none"),
        (lambda: seqdistill.evaluate(model="m", beam=0, out="o"), "'beam': .*, but it is 0"),
        (lambda: seqdistill.load("none"), "none"),
        (lambda: seqdistill.load("none", beems=2), "seqdistill.load: unknown key 'beems'; did you mean 'beam'"),
        (lambda: seqdistill.compare("a", "b", metric="bleu"), "unknown key 'metric'; did you mean 'metrics'"),
        (lambda: seqdistill.run("none.toml"), "none.toml: no such recipe"),
    ],
)
def test_mistakes_are_user_errors(call: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(seqdistill.UserError, match=message):
        call()
    assert not any(path.is_file() for path in tmp_path.rglob("*") if not path.name.startswith("."))


@pytest.mark.slow
def test_mistakes_in_decoding_are_named(example: dict[str, Any], folder: Path) -> None:
    model = seqdistill.load(folder / "teacher")
    for options, message in [
        ({"engine": "torch"}, "'engine' is no option of decoding; give it to seqdistill.load"),
        ({"beems": 2}, "'beems' is no option of decoding; did you mean 'beam'"),
        ({"beam": -1}, "'beam': .*, but it is -1"),
        ({"iterations": 3}, "iterations"),
    ]:
        with pytest.raises(seqdistill.UserError, match=message):
            model.translate(["lamp"], **options)
    with pytest.raises(seqdistill.UserError, match="expected a list of lines, but got 'lamp'"):
        model.translate("lamp")
    for lines in ([3], [b"lamp"], ["\ud800"]):
        with pytest.raises(seqdistill.UserError, match="line 1: expected text, but got"):
            model.translate(iter(lines))  # type: ignore[arg-type]
    with pytest.raises(seqdistill.UserError, match="prefix: has 2 lines, but 1 are decoded; give a line for each"):
        model.translate(["lamp"], prefix=["l", "d"])
    for rules in ({"prefix": []}, {"allowed": []}, {"allowed": np.array([])}):
        with pytest.raises(seqdistill.UserError, match=f"{min(rules)}: has 0 lines, but 1 are decoded"):
            model.translate(["lamp"], **rules)
    with pytest.raises(seqdistill.UserError, match="allowed: line 1: expected text, but got"):
        model.translate(["lamp"], allowed=iter([["l"]]))  # type: ignore[list-item]
    with pytest.raises(seqdistill.UserError, match="leave n_best out, or call hypotheses"):
        model.translate(["lamp"], n_best=2, beam=2)
    (folder / "prefixes").write_text("l\nd\n")
    told = seqdistill.load(folder / "teacher", prefix_file=folder / "prefixes")
    with pytest.raises(seqdistill.UserError, match="prefixes: has 2 lines, but 1 are decoded"):
        told.translate(["lamp"])
    with pytest.raises(seqdistill.UserError, match="out: expected the directory of the result, but got ''"):
        seqdistill.train(data="d", model="sru", out="")
    with pytest.raises(seqdistill.UserError, match="2 sources and 1 targets"):
        model.scores(["lamp", "door"], ["pmal"])
    with pytest.raises(seqdistill.UserError, match="a trace shows the iterations of a non-autoregressive model"):
        model.traces("lamp")


HEAVY = {"torch", "numpy", "pydantic", "rich", "sacrebleu", "sentencepiece", "ctranslate2", "pyarrow"}


@pytest.mark.parametrize(
    "code",
    [
        "import seqdistill",
        "import seqdistill; dir(seqdistill); seqdistill.UserError",
        "import sys; sys.argv = ['seqdistill', '--help']\nimport seqdistill.cli as c\nc.run()",
    ],
)
def test_importing_and_the_first_help_load_nothing_heavy(code: str) -> None:
    said = f"{code}\nimport sys; print('LOADED', *sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert not HEAVY.intersection(done.stdout.split("LOADED ")[1].split())


def test_importing_takes_less_than_50_ms() -> None:
    """The least of several: others may use the processor too."""
    timed = "import time; t = time.process_time(); import seqdistill; print(time.process_time() - t)"
    command = [sys.executable, "-c", timed]
    assert min(float(subprocess.check_output(command)) for _ in range(5)) < 0.05


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        seqdistill.trian  # type: ignore[attr-defined]  # noqa: B018
