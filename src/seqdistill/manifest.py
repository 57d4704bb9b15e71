"""A stage's directory: what it was asked, what it read and made; finished, unfinished, never silently reused.

A manifest lists with their hashes `outputs`, which others read and which decide the stage's fingerprint, and `others`,
such as logs and timings, which no two runs have alike. What it does not list is working state (checkpoints, shards),
whose files have seals of their own. Whatever is read is checked against these hashes first.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import PART, plain, sha256_file, sha256_json, sweep
from seqdistill.journal import EDITION, Record, check_edition, refusal
from seqdistill.seals import check_file, check_listing, listing, read_sealed, write_sealed

Status = Literal["finished", "unfinished", "absent"]

FINISHED, UNFINISHED = "manifest.json", "unfinished.json"
BEGUN = (UNFINISHED, ".prepare.json")
"""What a stage has written when it has only begun."""
_DEPTH = 3
"""Folders between a listed file and its manifest, one more at most."""
_PACKAGES = ("seqdistill", "torch", "numpy", "pyarrow", "sentencepiece", "sacrebleu", "ctranslate2")


class Found(NamedTuple):
    """What a stage's directory holds of the stage asked for."""

    status: Status
    differences: list[str]
    """Why it is another stage; empty if it is this one."""
    growth: str = ""
    """`max_updates: 10 there, 20 now`, where this is all that differs and the stage can go on."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.status == "finished" and not self.differences and not self.growth


def status(directory: Path) -> Status:
    """Whether a stage finished in this directory, began there, or was never there."""
    if (directory / FINISHED).exists():
        return "finished"
    return "unfinished" if (directory / UNFINISHED).exists() else "absent"


def stages_at(directory: Path) -> list[Path]:
    """The directories of stages that finished or began: those in a directory, or itself.

    Raises:
        UserError: no such directory, or none of a stage.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; give the output directory of a run")
    found = [path for path in [directory, *sorted(directory.iterdir())] if status(path) != "absent"]
    if not found:
        raise UserError(f"{directory}: holds no stage of seqdistill; give the output directory of a run, or of a stage")
    return found


def recorded(directory: Path) -> dict[str, Any]:
    """The record of the stage that finished or began in this directory.

    Raises:
        UserError: it is of another edition, or was altered.
    """
    name = FINISHED if status(directory) == "finished" else UNFINISHED
    found = read_sealed(directory / name, remedy=_remedy(directory))
    check_edition(found, directory)
    return found


def look(directory: Path, record: Record) -> Found:
    """Compares what a directory holds with the stage asked for; changes nothing."""
    found = status(directory)
    if found == "absent":
        return Found(found, [])
    there = recorded(directory)
    changed, growth = record.differences(there, directory), ""
    if record.growth and there["kind"] == record.kind:
        option, refused = record.growth
        before, now = there["options"].get(option, record.defaults.get(option)), record.options[option]
        if before != now:
            row = next(row for row in changed if row.startswith(f"{option}: "))
            if found == "finished" and now < before:
                changed[changed.index(row)] = f"{row} (it can grow, not shrink)"
            elif now == there.get("grown_from"):  # back to what was finished before it began to grow
                changed.remove(row)
            elif refused:
                changed[changed.index(row)] = f"{row} ({refused})"
            else:
                changed.remove(row)
                growth = row
    return Found(found, changed, growth)


def begin(directory: Path, record: Record, *, machine: Mapping[str, Any]) -> Found:
    """Checks whether the directory already holds this stage; marks it as begun if it is new, or grows. Of one that was
    cut off, removes what is half written.

    Args:
        machine: what the last bits of the result depend on.

    Returns:
        what was found: "finished" without growth: nothing to do; "absent": it starts here; else it is to be continued.

    Raises:
        UserError: the directory holds another stage, other options, other inputs, or files that no stage wrote;
            or a file of the finished stage is gone or was altered.
    """
    found = look(directory, record)
    if found.differences:
        raise UserError(refusal(directory, record.kind, found.differences))
    if found.status == "absent":
        strangers = sorted(path.name for path in directory.glob("*") if not path.name.startswith("."))
        if strangers:
            raise UserError(
                f"{directory}: holds {', '.join(strangers[:5])}, but no stage of seqdistill wrote here; "
                "give an empty or new directory as --out"
            )
        write_sealed(directory / UNFINISHED, record.as_json() | {"seconds": 0.0, "machines": [dict(machine)]})
        return found
    before = recorded(directory)
    if found.status == "finished":
        check_outputs(directory, before)
        if found.is_done:
            # It may be left of a run that was killed within the last line of `finish`.
            (directory / UNFINISHED).unlink(missing_ok=True)
            return found
        there = {name: digest for name, digest in before["others"].items() if (directory / name).exists()}
        check_listing(directory, there, remedy=_remedy(directory))  # its log goes on, and is vouched for again
    sweep(directory)
    seconds = before["wall_seconds"] if found.status == "finished" else _seconds(directory, before)
    machines = before["machines"] + [dict(machine)] * (machine not in before["machines"])
    kept: dict[str, Any] = {"seconds": seconds, "machines": machines}
    if record.growth:
        option = record.growth.option
        finished = before["options"].get(option) if found.status == "finished" else before.get("grown_from")
        if finished not in (None, record.options[option]):
            kept |= {"growth": found.growth or before["growth"], "grown_from": finished}
    write_sealed(directory / UNFINISHED, record.as_json() | kept)
    (directory / FINISHED).unlink(missing_ok=True)
    return found


def _seconds(directory: Path, unfinished: Mapping[str, Any]) -> float:
    """Time spent on a stage by the runs so far; the last one began with UNFINISHED and ended with its newest file."""
    began = (directory / UNFINISHED).stat().st_mtime
    newest = max(path.stat().st_mtime for path in directory.rglob("*"))
    return unfinished["seconds"] + max(0.0, newest - began)


def abandon(directory: Path) -> None:
    """Removes the record of a stage that failed at once, so that a corrected request can start in its directory.

    Hidden files that are the user's stay, and so does everything where there is more than a record.
    """
    own = [path for path in directory.iterdir() if path.name in BEGUN or PART.fullmatch(path.name)]
    if all(path in own or path.name.startswith(".") for path in directory.iterdir()):
        for path in own:
            if path.is_file():
                path.unlink()


def restore(directory: Path, before: Mapping[str, Any]) -> None:
    """Puts back the record of a stage that was asked for more or less, and refused before it did anything."""
    if "outputs" in before:
        write_sealed(directory / FINISHED, before)
        (directory / UNFINISHED).unlink(missing_ok=True)
    else:
        write_sealed(directory / UNFINISHED, {**before, "seconds": recorded(directory)["seconds"]})


def finish(
    directory: Path,
    record: Record,
    *,
    started: float,
    results: Mapping[str, Any],
    outputs: Iterable[Path],
    others: Iterable[Path] = (),
) -> None:
    """Ends a stage: writes its manifest, after which it counts as finished.

    Args:
        started: time.monotonic() at the beginning of this run of the stage.
        results: counts and scores to look up later.
        outputs: the files others read, which the stage's fingerprint is made of.
        others: files that differ from run to run, such as logs.
    """
    before = recorded(directory)
    names, more = ([path.relative_to(directory).as_posix() for path in sorted(paths)] for paths in (outputs, others))
    manifest = record.as_json() | {
        "results": dict(results),
        "outputs": listing(directory, names),
        "others": listing(directory, more),
        "command": command_line(),
        "versions": versions(),
        "machines": before["machines"],
        "wall_seconds": round(before["seconds"] + time.monotonic() - started, 3),
    }
    write_sealed(directory / FINISHED, manifest)
    (directory / UNFINISHED).unlink(missing_ok=True)


def check_outputs(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Raises UserError when a file of a finished stage is gone or is not the one that its manifest lists."""
    check_listing(directory, manifest["outputs"], remedy=_remedy(directory))


def checked(path: Path) -> Path:
    """The path of a file to be read: if the manifest of a finished stage lists it, it is the file that was listed.

    Raises:
        UserError: it was altered since, or the manifest was.
    """
    for directory in path.absolute().parents[:_DEPTH]:
        if (directory / FINISHED).is_file() and (manifest := _of_a_stage(directory)) is not None:
            listed = {**manifest["outputs"], **manifest["others"]}
            if expected := listed.get(path.absolute().relative_to(directory).as_posix()):
                check_file(path, expected, remedy=_remedy(directory))
            break
    return path


def _of_a_stage(directory: Path) -> dict[str, Any] | None:
    """The manifest of a stage; None for a file of that name that another program wrote."""
    try:
        found = json.loads(plain(directory / FINISHED).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    of_ours = isinstance(found, dict) and found.get("edition") == EDITION and "outputs" in found
    return recorded(directory) if of_ours else None


def _remedy(directory: Path) -> str:
    return f"delete {directory} and run the stage again, or copy the whole directory again"


def fingerprint(path: Path) -> str:
    """Content hash of a file, a finished stage or a model directory; the same wherever it lies.

    Every byte is read once a process: whoever starts from it knows that it is what was written.

    Raises:
        UserError: nothing is there, a pipe, a stage that is not finished, or a file that was altered since its stage
            ended.
    """
    if path.is_file():
        return sha256_file(checked(path))
    if not path.is_dir():
        raise UserError(f"{path}: {_no_content(path)}")
    if status(path) == "unfinished":
        raise UserError(f"{path}: its stage is not finished; run the command that began it again, it continues")
    if status(path) == "finished":
        manifest = recorded(path)
        check_outputs(path, manifest)
        return recorded_fingerprint(manifest)
    files = {file.relative_to(path): file for file in sorted(path.rglob("*")) if file.is_file()}
    seen = {place: file for place, file in files.items() if not any(part.startswith(".") for part in place.parts)}
    return sha256_json({place.as_posix(): sha256_file(file) for place, file in seen.items()})


def recorded_fingerprint(manifest: Mapping[str, Any]) -> str:
    """The fingerprint of a finished stage by its manifest, without a look at its files."""
    return sha256_json(manifest["outputs"])


def _no_content(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a link to nothing, or back to itself; give another path"
    if not path.exists():
        return "no such file or directory"
    return "a pipe or device, but what it holds is read more than once: write it to a file, and give that"


def command_line() -> str:
    """The command of this process, its program without its folder."""
    program = Path(sys.argv[0]).name
    return " ".join(["seqdistill" if program == "__main__.py" else program, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
