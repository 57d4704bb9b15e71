"""A recipe is a TOML file of stages; running it does what is not done yet, in the order the stages need each other.

name = "example"

[prepare.data]              # a stage: its verb, its name, the verb's own options
corpus = "home-assistant"
languages = "en-de"

[defaults.train]            # options of every train stage of this recipe
batch_tokens = 2048

[train.teacher]
data = "data"               # the name of another stage stands for its directory
model = "transformer-small"

[report]
title = "An example"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.progress import Progress
from seqdistill.settings import ReportSettings, Settings
from seqdistill.stages import STAGES, Outcome, differing, run_stage
from seqdistill.verbs.report import write_report

REPORT = "report.html"


@dataclass(frozen=True)
class Step:
    """One stage of a recipe."""

    kind: str
    name: str
    settings: Settings
    directory: Path
    needs: tuple[str, ...]
    """Names of the stages it reads."""


@dataclass(frozen=True)
class Recipe:
    """A recipe bound to an output directory, its steps in the order they run."""

    name: str
    description: str
    steps: tuple[Step, ...]
    report: ReportSettings | None
    out: Path


class Plan(NamedTuple):
    """What `run` would do with a step, and why."""

    step: Step
    action: Literal["skip", "continue", "run", "refuse"]
    why: str


def read_recipe(path: Path, *, out: Path | None = None) -> Recipe:
    """Reads and checks a whole recipe before anything runs.

    Args:
        out: directory of all its stages; default runs/NAME.

    Raises:
        UserError: no such file, no TOML, an unknown verb, key or stage name (names the nearest valid one), a circle.
    """
    content = _content(path)
    name = content.get("name", path.stem)
    directory = out or Path("runs") / name
    report = content.get("report")
    return Recipe(
        name=name,
        description=content.get("description", ""),
        steps=tuple(_in_order(path, _steps(path, content, directory))),
        report=None if report is None else ReportSettings.read(report, where=f"{path}: [report]"),
        out=directory,
    )


def _content(path: Path) -> dict[str, Any]:
    """The file as plain values: keys and kinds of values are right, options of stages not yet looked at."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
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
        _Table(kind, name, {**defaults.get(kind, {}), **values})
        for kind in STAGES
        for name, values in content.get(kind, {}).items()
    ]
    tables = _for_each_seed(path, tables)
    names = [table.name for table in tables]
    steps = []
    for kind, name, values in tables:
        where = f"{path}: [{kind}.{name}]"
        if names.count(name) > 1:
            raise UserError(f"{where}: two stages are called {name!r}, and would share a directory; rename one")
        declared, others = STAGES[kind].settings, [other for other in names if other != name]
        needs = [given for given in _inputs(kind, values) if given in others]
        read = {
            key: _replaced(values[key], {other: str(out / other) for other in others})
            for key in declared.inputs
            if key in values
        }
        settings = declared.read({**values, **read}, where=where)
        try:
            STAGES[kind].check(settings)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        steps.append(Step(kind, name, settings, out / name, tuple(needs)))
    return steps


class _Table(NamedTuple):
    """A stage as the recipe has it, with its defaults."""

    kind: str
    name: str
    values: Mapping[str, Any]


def _for_each_seed(path: Path, tables: list[_Table]) -> list[_Table]:
    """Writes a stage that has `seeds` as one stage NAME-SEED for each, and so what reads it: other stages' inputs."""
    seeds: dict[str, list[int]] = {}
    for kind, name, values in tables:
        if "seeds" in values:
            given, where = values["seeds"], f"{path}: [{kind}.{name}]"
            if not isinstance(given, list) or not given or not all(type(seed) is int for seed in given):
                raise UserError(f"{where}: seeds: expected a list of whole numbers, found {given!r}")
            if "seed" in values:
                raise UserError(f"{where}: has seed and seeds; keep one")
            seeds[name] = given
    for _ in tables:  # a chain of stages is at most as long as there are stages
        for kind, name, values in tables:
            for read in _inputs(kind, values):
                if read in seeds and seeds.setdefault(name, seeds[read]) != seeds[read]:
                    raise UserError(
                        f"{path}: [{kind}.{name}]: reads {read!r}, which has other seeds; give both the same"
                    )
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
    return [
        each for value in given for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)
    ]


def _replaced(value: Any, others: Mapping[str, str]) -> Any:
    """The value, or each value of a list, by what it stands for."""
    if isinstance(value, list):
        return [_replaced(each, others) for each in value]
    return others.get(value, value) if isinstance(value, str) else value


def _in_order(path: Path, steps: list[Step]) -> Iterator[Step]:
    """Every step after what it needs, otherwise as listed."""
    waiting, placed = list(steps), set[str]()
    while waiting:
        ready = next((step for step in waiting if placed.issuperset(step.needs)), None)
        if ready is None:
            circle = ", ".join(step.name for step in waiting)
            raise UserError(f"{path}: stages that wait for each other: {circle}")
        waiting.remove(ready)
        placed.add(ready.name)
        yield ready


def _check_inputs(recipe: Recipe) -> None:
    """Raises UserError where a stage names as its input what is neither another stage nor there."""
    names = [step.name for step in recipe.steps]
    for step in recipe.steps:
        made = {recipe.out / name for name in step.needs}
        for key, given in step.settings.given_inputs():
            if given not in made and not given.exists():
                others = [name for name in names if name != step.name]
                raise UserError(
                    f"[{step.kind}.{step.name}]: {key} {str(given)!r} is no other stage of the recipe, nor a file or "
                    f"directory; {nearest(str(given), others)}"
                )


def plan(recipe: Recipe) -> list[Plan]:
    """What running the recipe would do now; reads, writes nothing.

    Raises:
        UserError: an input that is no stage and not there.
    """
    _check_inputs(recipe)
    rows: list[Plan] = []
    for step in recipe.steps:
        unmade = [row.step.name for row in rows if row.step.name in step.needs and row.action != "skip"]
        found = status(step.directory)
        if unmade:
            rows.append(Plan(step, "run", f"after {', '.join(unmade)}"))
        elif changes := differing(step.kind, step.settings, step.directory):
            rows.append(Plan(step, "refuse", "the directory holds another stage: " + "; ".join(changes)))
        elif found == "finished":
            rows.append(Plan(step, "skip", "finished, nothing changed"))
        elif found == "unfinished":
            rows.append(Plan(step, "continue", "begun, not finished"))
        else:
            rows.append(Plan(step, "run", "not begun"))
    return rows


def run(recipe: Recipe, progress: Progress) -> list[tuple[Step, Outcome]]:
    """Runs every step that is not finished, then writes the report if the recipe has one.

    Raises:
        UserError: an input that is no stage and not there (before anything runs); the verbs' own errors.
    """
    _check_inputs(recipe)
    outcomes = []
    for number, step in enumerate(recipe.steps, 1):
        title = f"[{number}/{len(recipe.steps)}] {step.kind} {step.name}"
        outcomes.append((step, run_stage(step.kind, step.settings, step.directory, progress, title=title)))
    page = recipe.out / REPORT
    if recipe.report and (not page.exists() or any(outcome.done_now for _, outcome in outcomes)):
        write_report(recipe.out, page, recipe.report)
    return outcomes


class StageStatus(NamedTuple):
    """A row of `seqdistill status`."""

    name: str
    kind: str
    status: str
    detail: str


def stages_in(directory: Path) -> list[StageStatus]:
    """Every stage in the folders of `directory`, or in it.

    Raises:
        UserError: no such directory, or no stage in it.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; give the output directory of a run or a stage")
    rows = []
    for folder in [directory, *sorted(path for path in directory.iterdir() if path.is_dir())]:
        found = status(folder)
        if found == "absent":
            continue
        recorded = read_json(folder / (FINISHED if found == "finished" else "unfinished.json"))
        rows.append(StageStatus(folder.name, recorded["kind"], found, _detail(folder, recorded)))
    if not rows:
        raise UserError(f"{directory}: no stage of seqdistill in it")
    return rows


def _detail(folder: Path, recorded: Mapping[str, Any]) -> str:
    if "wall_seconds" in recorded:
        return f"{recorded['wall_seconds']:,.0f} s"
    if shards := list(folder.glob("shards/*.parquet")):
        return f"{len(shards)} shards so far"
    checkpoints = sorted(path.name for path in folder.glob("checkpoints/*") if not path.name.startswith("."))
    return f"last checkpoint {checkpoints[-1]}" if checkpoints else "no result yet"
