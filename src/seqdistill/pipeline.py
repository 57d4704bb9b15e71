"""Running a recipe: what is not done yet, in the order the stages need each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.jobs import side_by_side
from seqdistill.manifest import recorded, status
from seqdistill.progress import Progress
from seqdistill.recipe import REPORT, Recipe, Step
from seqdistill.stages import STAGES, Outcome, found_in, run_stage
from seqdistill.verbs.report import write_report


class Plan(NamedTuple):
    """What `run` would do with a step, and why."""

    step: Step
    action: Literal["skip", "continue", "grow", "run", "refuse"]
    why: str


def _check_inputs(recipe: Recipe) -> None:
    """Raises UserError where a stage names as its input what is neither another stage nor there."""
    names = [step.name for step in recipe.steps]
    for step in recipe.steps:
        made = {recipe.out / name for name in step.needs}
        for key, given in step.settings.given_inputs():
            if given not in made and not given.exists():
                others = [name for name in names if name != step.name]
                raise UserError(
                    f"{recipe.path}: [{step.kind}.{step.name}]: {key} {str(given)!r} is not another stage of the "
                    f"recipe, nor a file or directory (as seen from {Path.cwd()}); {nearest(str(given), others)}"
                )


def plan(recipe: Recipe) -> list[Plan]:
    """What running the recipe would do now; reads, writes nothing.

    Raises:
        UserError: an input that is neither a stage nor a file.
    """
    _check_inputs(recipe)
    rows: list[Plan] = []
    grown: dict[str, str] = {}  # these will be other than what was made of them before -> the training that grows
    for step in recipe.steps:
        unmade = [row.step.name for row in rows if row.step.name in step.needs and row.action != "skip"]
        read = {given for key, given in step.settings.given_inputs() if key not in STAGES[step.kind].fingerprints}
        older = [name for name in unmade if name in grown and recipe.out / name in read]
        if older and status(step.directory) != "absent":
            grown[step.name] = grown[older[0]]
            why = f"made of {grown[step.name]} before it grows: delete {step.directory}, to make it anew"
            rows.append(Plan(step, "refuse", why))
            continue
        if unmade:
            rows.append(Plan(step, "run", f"after {', '.join(unmade)}"))
            continue
        try:
            found = found_in(step.directory, step.kind, step.settings)
        except UserError as error:  # damaged, or of another edition
            rows.append(Plan(step, "refuse", str(error)))
            continue
        if found.differences:
            rows.append(Plan(step, "refuse", "the directory holds another stage: " + "; ".join(found.differences)))
        elif found.growth:
            grown[step.name] = step.name
            rows.append(Plan(step, "grow", found.growth))
        elif found.status == "finished":
            rows.append(Plan(step, "skip", "finished, nothing changed"))
        elif found.status == "unfinished":
            if _grows_on(step):
                grown[step.name] = step.name
            rows.append(Plan(step, "continue", "begun, not finished"))
        else:
            rows.append(Plan(step, "run", "not begun"))
    return rows


def _grows_on(step: Step) -> bool:
    """Whether an unfinished stage was finished before, and goes on to grow, not back to what it was."""
    growth, begun = STAGES[step.kind].growth, recorded(step.directory)
    if growth is None or "grown_from" not in begun:
        return False
    return begun["grown_from"] != getattr(step.settings, growth(step.settings).option)


def run(recipe: Recipe, progress: Callable[[], Progress], *, jobs: int = 1) -> list[tuple[Step, Outcome]]:
    """Runs every step that is not finished, then writes the report if the recipe has one.

    Args:
        progress: makes what reports the progress of stages, in each process that runs some; picklable if jobs > 1.
        jobs: stages at a time, each in a process of its own with its share of the cores.

    Raises:
        UserError: an input that is neither a stage nor a file, or a directory that holds something else or what was
            made of a training before it grows (all before anything runs); see `side_by_side` and the verbs.
    """
    if refused := [row for row in plan(recipe) if row.action == "refuse"]:
        raise UserError("\n".join(f"{row.step.directory}: {row.why}" for row in refused))
    ends = side_by_side(recipe.steps, progress, jobs=jobs) if jobs != 1 else _one_by_one(recipe.steps, progress())
    outcomes = list(ends)
    page = recipe.out / REPORT
    if recipe.report and (not page.exists() or any(outcome.done_now for _, outcome in outcomes)):
        write_report(recipe.out, page, recipe.report)
    return outcomes


def _one_by_one(steps: Sequence[Step], progress: Progress) -> Iterator[tuple[Step, Outcome]]:
    for number, step in enumerate(steps, 1):
        title = f"[{number}/{len(steps)}] {step.kind} {step.name}"
        yield step, run_stage(step.kind, step.settings, step.directory, progress, title=title)


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
        try:
            record = recorded(folder)
        except UserError as error:
            rows.append(StageStatus(folder.name, "", "unreadable", str(error)))
            continue
        rows.append(StageStatus(folder.name, record["kind"], found, _detail(folder, record)))
    if not rows:
        raise UserError(f"{directory}: no stage of seqdistill in it")
    return rows


def _detail(folder: Path, record: Mapping[str, Any]) -> str:
    if "wall_seconds" in record:
        return f"{record['wall_seconds']:,.0f} s"
    if shards := list(folder.glob("shards/*.parquet")):
        return f"{len(shards)} shards so far"
    checkpoints = sorted(path.name for path in folder.glob("checkpoints/[0-9]*"))
    growth = f"grow: {record['growth']}; " if record.get("growth") else ""
    return f"{growth}last checkpoint {checkpoints[-1]}" if checkpoints else "no result yet"
