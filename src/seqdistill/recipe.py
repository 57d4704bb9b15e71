"""A recipe: a TOML file of stages, read and checked whole before anything runs.

name = "example"

[prepare.data]              # a stage: its verb, its name, the verb's own options
corpus = "home-assistant"
languages = "en-de"

[defaults.train]            # options of every train stage of this recipe
batch_tokens = 2048

[train.teacher]
data = "data"               # the name of another stage stands for its directory
model = "transformer-small"

[train.student]
model = "sru"
each = { data = ["data", "distilled"] }     # two stages, student-data and student-distilled
seeds = [1, 2, 3]           # three each, student-data-1 to student-distilled-3, and so of all that reads them

[evaluate.test]
data = "data"
each = { model = ["teacher", "student-data", "student-distilled"], beam = [1, 5] }  # test-teacher-1 ...

[report]
title = "An example"
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.manifest import FINISHED, UNFINISHED
from seqdistill.options import Options, ReportOptions
from seqdistill.stages import STAGES

REPORT = "report.html"
"""The page of a run, among its stages."""
NO_STAGES = (REPORT, FINISHED, UNFINISHED)
"""Names of files that a directory of stages, or of one stage, may have."""
LONGEST_NAME = 200
"""Bytes of a stage's or a recipe's name; file systems allow 255, and what is written beside adds some."""

MOST_STAGES = 1000
"""Of a recipe."""
_TOO_MANY = f"a recipe has {MOST_STAGES:,} stages at most: give fewer values, or write several recipes"
_DEEP = re.compile(r"""(?<![\w'"-])(?:["']?[\w-]++["']?\s*\.\s*){100}""")
"""A key of a hundred parts: reading takes time by their square."""


@dataclass(frozen=True)
class Step:
    """One stage of a recipe."""

    kind: str
    name: str
    settings: Options
    directory: Path
    needs: tuple[str, ...]
    """Names of the stages it reads."""


@dataclass(frozen=True)
class Recipe:
    """A recipe bound to an output directory, its steps in the order they run."""

    path: Path
    name: str
    description: str
    steps: tuple[Step, ...]
    report: ReportOptions | None
    out: Path


def read_recipe(path: Path, *, out: Path | None = None) -> Recipe:
    """Reads and checks a whole recipe before anything runs.

    Args:
        out: directory of all its stages; default runs/NAME.

    Raises:
        UserError: no such file, no TOML, an unknown verb, key or stage name (names the nearest valid one), a circle.
    """
    content = _content(path)
    name = content.get("name", path.stem)
    _check_name(name, f"{path}: name")
    directory = out or Path("runs") / name
    report = content.get("report")
    return Recipe(
        path=path,
        name=name,
        description=content.get("description", ""),
        steps=tuple(_in_order(path, _steps(path, content, directory))),
        report=None if report is None else ReportOptions.read(report, where=f"{path}: [report]"),
        out=directory,
    )


def _content(path: Path) -> dict[str, Any]:
    """The file as plain values: keys and kinds of values are right, options of stages not yet looked at."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a BOM in front
        deep = _DEEP.search(text)
        content = {} if deep else tomllib.loads(text)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such recipe") from None
    except RecursionError:
        raise UserError(f"{path}: not TOML that can be read: too many brackets within others") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or a number with too many digits
        raise UserError(f"{path}: not valid TOML: {str(error).partition(';')[0]}") from None
    if deep:
        line = text.count("\n", 0, deep.start()) + 1
        raise UserError(f"{path}, line {line:,}: not TOML that can be read: a key of too many parts")
    texts, valid = ("name", "description"), ["name", "description", "defaults", "report", *STAGES]
    for key, value in content.items():
        if key not in valid:
            raise UserError(f"{path}: unknown key {key!r}; {nearest(key, valid)}")
        if not isinstance(value, str if key in texts else Mapping):
            raise UserError(f"{path}: {key}: expected {'text' if key in texts else 'a table'}, found {value!r}")
    for kind in content.get("defaults", {}):
        if kind not in STAGES:
            raise UserError(f"{path}: [defaults.{kind}]: no such verb; {nearest(kind, STAGES)}")
    for kind in ("defaults", *STAGES):
        for name, values in content.get(kind, {}).items():
            if not isinstance(values, Mapping):
                raise UserError(f"{path}: [{kind}.{name}]: expected a table of options, found {values!r}")
    return content


def _steps(path: Path, content: Mapping[str, Any], out: Path) -> list[Step]:
    defaults = content.get("defaults", {})
    tables = [
        _Table(kind, stage, _with_defaults(kind, options, defaults.get(kind, {})))
        for kind in STAGES
        for name, values in content.get(kind, {}).items()
        for stage, options in _for_each(values, where=f"{path}: [{kind}.{name}]", name=name)
    ]
    tables = _for_each_seed(path, tables)
    times = Counter(table.name for table in tables)
    directories = {name: str(out / name) for name in times if isinstance(name, str)}
    steps = []
    for kind, name, values in tables:
        where = f"{path}: [{kind}.{name}]"
        _check_name(name, where)
        if times[name] > 1:
            raise UserError(f"{where}: two stages are called {name!r}, and would share a directory; rename one")
        declared, others = STAGES[kind].settings, {**directories}
        del others[name]
        needs = [given for given in _inputs(kind, values) if given in others]
        read = {key: _replaced(values[key], others) for key in declared.inputs if key in values}
        settings = declared.read({**values, **read}, where=where)
        try:
            STAGES[kind].check(settings)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        steps.append(Step(kind, name, settings, out / name, tuple(needs)))
    return steps


def _with_defaults(kind: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's options and the recipe's defaults for those it does not give, but for one that it has no use for."""
    values = {**defaults, **options}
    decays = values.get("schedule") == "wsd" and "decay_from" not in values
    if kind == "train" and "decay" not in options and not decays:
        values.pop("decay", None)
    return values


def _check_name(name: str, where: str) -> None:
    """Raises UserError for a name that is no name of a folder in a folder: `../up`, `/abs`, `a/b`, one with a NUL."""
    of_one_folder = name.isprintable() and "/" not in name and not name.startswith(".")
    if not of_one_folder or not 1 <= len(name.encode(errors="replace")) <= LONGEST_NAME:
        raise UserError(
            f"{where}: the name {name!r} is to be that of a folder: expected 1 to {LONGEST_NAME} bytes, without / and "
            "what cannot be printed, and no dot in front; give it another"
        )
    if name in NO_STAGES:
        raise UserError(
            f"{where}: {name} is a file of seqdistill's, so no stage can be called so; give it another name"
        )


class _Table(NamedTuple):
    """A stage as the recipe has it, with its defaults."""

    kind: str
    name: str
    values: Mapping[str, Any]


def _for_each(values: Mapping[str, Any], *, where: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A stage that has `each` as one stage NAME-VALUE for every value, and every combination, of its options."""
    options, kept = values.get("each", {}), {key: value for key, value in values.items() if key != "each"}
    if not isinstance(options, Mapping) or not all(isinstance(given, list) and given for given in options.values()):
        raise UserError(f"{where}: each: expected lists of values, such as {{ beam = [1, 5] }}, found {options!r}")
    if twice := options.keys() & kept.keys():
        raise UserError(f"{where}: each: {', '.join(sorted(twice))} is given beside it as well; keep one")
    if (number := prod(map(len, options.values()))) > MOST_STAGES:
        raise UserError(f"{where}: each: {number:,} combinations; {_TOO_MANY}")
    for chosen in product(*options.values()):
        suffixes = [Path(str(value)).name for value in chosen]
        yield "-".join([name, *suffixes]), kept | dict(zip(options, chosen, strict=True))


def _for_each_seed(path: Path, tables: list[_Table]) -> list[_Table]:
    """Writes a stage that has `seeds` as one stage NAME-SEED for each, and so what reads it: other stages' inputs."""
    seeds: dict[str, list[int]] = {}
    for kind, name, values in tables:
        if "seeds" in values:
            given, where = values["seeds"], f"{path}: [{kind}.{name}]"
            if not isinstance(given, list) or not given or not all(type(seed) is int for seed in given):
                raise UserError(f"{where}: seeds: expected a list of whole numbers, found {str(given)[:100]}")
            if len(given) > MOST_STAGES:
                raise UserError(f"{where}: {len(given):,} seeds; {_TOO_MANY}")
            if "seed" in values:
                raise UserError(f"{where}: has seed and seeds; keep one")
            seeds[name] = given
    known = -1
    while known < len(seeds):  # from what has seeds to what reads it, until nothing is new
        known = len(seeds)
        for kind, name, values in tables:
            for read in _inputs(kind, values):
                if read in seeds and seeds.setdefault(name, seeds[read]) != seeds[read]:
                    raise UserError(
                        f"{path}: [{kind}.{name}]: reads {read!r}, which has other seeds; give both the same"
                    )
    if (number := sum(len(seeds.get(table.name, [None])) for table in tables)) > MOST_STAGES:
        raise UserError(f"{path}: {number:,} stages; {_TOO_MANY}")
    written = []
    for kind, name, values in tables:
        for seed in seeds.get(name, [None]):
            own = {other: f"{other}-{seed}" for other in seeds}
            changed = {key: _replaced(values[key], own) for key in STAGES[kind].settings.inputs if key in values}
            changed |= {"seed": seed} if "seeds" in values else {}
            kept = {key: value for key, value in values.items() if key != "seeds"}
            written.append(_Table(kind, name if seed is None else f"{name}-{seed}", {**kept, **changed}))
    return written


def _inputs(kind: str, values: Mapping[str, Any]) -> list[str]:
    """What a stage reads, where that is text: names of stages, or paths."""
    given = [values[key] for key in STAGES[kind].settings.inputs if key in values]
    return [each for value in given for each in _each(value) if isinstance(each, str)]


def _each(value: Any) -> list[Any]:
    """The values of a list or of a table, or the value itself."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _replaced(value: Any, others: Mapping[str, str]) -> Any:
    """Replaces the value, or each value of a list or a table, by what it stands for."""
    if isinstance(value, list):
        return [_replaced(each, others) for each in value]
    if isinstance(value, Mapping):
        return {key: _replaced(each, others) for key, each in value.items()}
    return others.get(value, value) if isinstance(value, str) else value


def _in_order(path: Path, steps: list[Step]) -> list[Step]:
    """Every step as listed, what it needs before it, and what scores it right after it."""
    named, placed = {step.name: step for step in steps}, dict[str, Step]()

    def place(name: str) -> None:
        waiting = [name]  # each for the one behind it
        while waiting:
            need = next((need for need in named[waiting[-1]].needs if need not in placed), None)
            if need is None:
                name = waiting.pop()
                placed.setdefault(name, named[name])
            elif need in waiting:
                circle = ", ".join(waiting[waiting.index(need) :])
                raise UserError(f"{path}: stages that wait for each other: {circle}")
            else:
                waiting.append(need)

    scoring = [step for step in steps if step.kind in ("tune-penalty", "evaluate")]
    for step in steps:
        place(step.name)
        for scores in scoring:
            if placed.keys() >= set(scores.needs):
                place(scores.name)
    return list(placed.values())
