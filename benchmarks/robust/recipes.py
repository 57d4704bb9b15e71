"""Command lines of `run`, `status` and `report`: recipes that are damaged, wrong, odd and sound."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.robust.cases import Case, Wanted

RECIPE = """
name = "toy"
description = "Words reversed."

[prepare.text]
source = "train.src"
target = "train.tgt"
valid_source = "valid.src"
valid_target = "valid.tgt"
vocab_size = 60

[defaults.train]
max_updates = 2
warmup = 1
tensorboard = false

[train.teacher]
data = "text"
model = "transformer"
set = { dim = 16, heads = 2 }

[distill.made]
teacher = "teacher"
data = "text"
beam = 2

[train.student]
data = "made"
model = "sru"

[evaluate.scored]
model = "student"
data = "made"
split = "valid"

[report]
title = "Toy"
"""
WRONG_LINES = {
    "an unknown key": "[train.x]\ndata = 'text'\nmodel = 'sru'\nwarmups = 1",
    "an unknown verb": "[trian.x]\ndata = 'text'",
    "a stage that is a number": "[train]\nx = 1",
    "text for a number": "[train.x]\ndata = 'text'\nmodel = 'sru'\nmax_updates = 'many'",
    "NaN": "[train.x]\ndata = 'text'\nmodel = 'sru'\nlearning_rate = nan",
    "infinity": "[train.x]\ndata = 'text'\nmodel = 'sru'\nlearning_rate = inf",
    "a date": "[train.x]\ndata = 'text'\nmodel = 1979-05-27",
    "a date in set": "[train.x]\ndata = 'text'\nmodel = 'sru'\nset = { dim = 1979-05-27 }",
    "NaN in set": "[train.x]\ndata = 'text'\nmodel = 'sru'\nset = { dropout = nan }",
    "terabytes": "[train.x]\ndata = 'text'\nmodel = 'sru'\nset = { dim = 10_000_000_000 }",
    "a huge number": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseed = " + "9" * 5000,
    "a seed below 0": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseed = -1",
    "seeds below 0": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseeds = [-1]",
    "seeds twice": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseeds = [1, 1]",
    "seeds that are text": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseeds = 'all'",
    "seed and seeds": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseeds = [1]\nseed = 1",
    "each that is text": "[train.x]\ndata = 'text'\neach = 'model'",
    "each of nothing": "[train.x]\ndata = 'text'\neach = { model = [] }",
    "each of billions": "[train.x]\ndata = 'text'\neach = { "
    + ", ".join(f"{name} = [{', '.join(map(str, range(1, 1001)))}]" for name in ("seed", "keep", "log_every"))
    + " }",
    "deep brackets": "[train.x]\ndata = " + "[" * 100_000,
    "deep tables": "[train.x]\nset = " + "{a=" * 50_000,
    "an input that is not there": "[train.x]\ndata = 'none-such'\nmodel = 'sru'",
    "a list for a name": "[train.x]\ndata = ['text', 'made']\nmodel = 'sru'",
    "a circle": "[distill.a]\nteacher = 'b'\ndata = 'text'\n[train.b]\ndata = 'a'\nmodel = 'sru'",
    "itself": "[train.x]\ndata = 'x'\nmodel = 'sru'",
    "two of a name": "[evaluate.made]\nmodel = 'teacher'\ndata = 'text'",
    "a name that goes up": "[train.'../up']\ndata = 'text'\nmodel = 'sru'",
    "an absolute name": "[train.'/tmp/none-such']\ndata = 'text'\nmodel = 'sru'",
    "a name with a slash": "[train.'a/b']\ndata = 'text'\nmodel = 'sru'",
    "a name with a NUL": "[train.\"a\\u0000b\"]\ndata = 'text'\nmodel = 'sru'",
    "an end of markup": "[train.'t[/a]']\ndata = 'text'\nmodel = 'sru'",
    "an empty name": "[train.'']\ndata = 'text'\nmodel = 'sru'",
    "a name of dots": "[train.'..']\ndata = 'text'\nmodel = 'sru'",
    "a name too long": f"[train.{'x' * 300}]\ndata = 'text'\nmodel = 'sru'",
    "no model": "[train.x]\ndata = 'text'",
    "a report that is text": "[report.title]\nx = 1",
    "the same key twice": "[train.x]\ndata = 'text'\ndata = 'text'",
    "a text that does not end": "[train.x]\ndata = 'text",
}
SOUND_LINES = {
    "brackets of markup": "[train.'t[bold]']\ndata = 'text'\nmodel = 'sru'",
    "formulas": "[train.'$x_{$']\ndata = 'text'\nmodel = 'sru'",
    "other scripts": "[train.'учитель-教師']\ndata = 'text'\nmodel = 'sru'",
    "each": "[evaluate.x]\nmodel = 'teacher'\ndata = 'text'\nsplit = 'valid'\neach = { beam = [1, 2] }",
    "seeds": "[train.x]\ndata = 'text'\nmodel = 'sru'\nseeds = [0, 9223372036854775807]",
    "nothing more": "",
}


def recipes(draw: random.Random, folder: Path) -> Case:
    """A command line of `run --dry-run`, `run`, `status` or `report`."""
    return draw.choice([_lines, _lines, _lines, _bytes, _letters, _other, _unusual_name])(draw, folder)


def _dry(kind: str, folder: Path, recipe: str | bytes, wanted: Wanted) -> Case:
    """A recipe that is only looked at, unless it is refused."""
    content = recipe.encode("utf-8", "surrogateescape") if isinstance(recipe, str) else recipe
    (folder / "toy.toml").write_bytes(content)
    return Case(f"recipe, {kind}", ["run", "toy.toml", "--out", "out", "--dry-run"], wanted)


def _lines(draw: random.Random, folder: Path) -> Case:
    kind = draw.choice([*WRONG_LINES, *SOUND_LINES])
    added = WRONG_LINES.get(kind, SOUND_LINES.get(kind, ""))
    wanted: Wanted = "refused" if kind in WRONG_LINES else "done"
    return _dry(kind, folder, RECIPE.replace("[report]", f"{added}\n\n[report]"), wanted)


def _bytes(draw: random.Random, folder: Path) -> Case:
    kind, content, wanted = draw.choice(
        [
            ("empty", b"", "either"),
            ("a byte that is not UTF-8", RECIPE.encode().replace(b"Words", b"\xff"), "refused"),
            ("a NUL byte", RECIPE.encode().replace(b"Words", b"\0"), "refused"),
            ("UTF-16", RECIPE.encode("utf-16"), "refused"),
            ("a byte order mark", b"\xef\xbb\xbf" + RECIPE.encode(), "either"),
            ("CR LF", RECIPE.replace("\n", "\r\n").encode(), "done"),
            ("brackets only", b"[" * 200_000, "refused"),
            ("JSON", b'{"name": "toy"}', "refused"),
        ]
    )
    return _dry(kind, folder, content, wanted)  # pyright: ignore


def _letters(draw: random.Random, folder: Path) -> Case:
    """A letter gone, doubled or changed anywhere: most are refused, some change a title."""
    place = draw.randrange(len(RECIPE))
    letter = draw.choice(["", RECIPE[place] * 2, draw.choice("[]{}\"'=,.#\n0a\\")])
    return _dry("a letter", folder, RECIPE[:place] + letter + RECIPE[place + 1 :], "either")


def _other(draw: random.Random, folder: Path) -> Case:
    (folder / "toy.toml").write_text(RECIPE)
    (folder / "circle").symlink_to("circle")
    kind, words = draw.choice(
        [
            ("a recipe that is not there", ["run", "none.toml"]),
            ("a recipe that is a folder", ["run", "data"]),
            ("a recipe in a circle of links", ["run", "circle"]),
            ("a name too long", ["run", "x" * 300]),
            ("no jobs", ["run", "toy.toml", "--out", "out", "--jobs", "0"]),
            ("jobs below 0", ["run", "toy.toml", "--out", "out", "--jobs", "-1"]),
            ("thousands of jobs", ["run", "toy.toml", "--out", "out", "--jobs", "100000"]),
            ("an output that is a file", ["run", "toy.toml", "--out", "train.src"]),
            ("an output in a circle of links", ["run", "toy.toml", "--out", "circle"]),
            ("status of nothing", ["status", "none"]),
            ("status of a file", ["status", "train.src"]),
            ("status of a circle", ["status", "circle"]),
            ("a report of nothing", ["report", "none"]),
            ("a report of a file", ["report", "train.src"]),
            ("a report onto text", ["report", ".", "--page", "train.src"]),
            ("a report onto a folder", ["report", ".", "--page", "data"]),
            ("a report below a file", ["report", ".", "--page", "train.src/page.html"]),
            ("a report of a title", ["report", ".", "--titel", "x"]),
        ]
    )
    return Case(kind, list(words), "refused")


def _unusual_name(draw: random.Random, folder: Path) -> Case:
    """Directories with names that terminals, markup or HTML would take for something else."""
    name = draw.choice(
        ["exp[bold]", "t[a]", "\x1b[31mred", "a b", "$x_{$", "<b>", "\udcff", "é", "a\nb", "&amp;", "-x"]
    )
    (folder / "runs" / name).mkdir(parents=True)
    for path in (folder / "scores").iterdir():
        if path.is_file() and path.name != ".lock":
            (folder / "runs" / name / path.name).write_bytes(path.read_bytes())
    words = draw.choice([["status", "runs"], ["report", "runs", "--page", "out"]])
    return Case(f"{words[0]}, {name!r}", words, "done")
