"""A stage's directory: what it was asked, what it read and made; finished, unfinished, never silently reused."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import read_json, sha256_file, sha256_json, write_json
from seqdistill.journal import Record, check_edition, refusal

Status = Literal["finished", "unfinished", "absent"]

FINISHED, UNFINISHED = "manifest.json", "unfinished.json"
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


def recorded(directory: Path) -> dict[str, Any]:
    """The record of the stage that finished or began in this directory.

    Raises:
        UserError: it is of another edition.
    """
    found = read_json(directory / (FINISHED if status(directory) == "finished" else UNFINISHED))
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
            elif refused:
                changed[changed.index(row)] = f"{row} ({refused})"
            else:
                changed.remove(row)
                growth = row
    return Found(found, changed, growth)


def begin(directory: Path, record: Record, *, machine: Mapping[str, Any]) -> Found:
    """Checks whether the directory already holds this stage; marks it as begun if it is new, or grows.

    Args:
        machine: what the last bits of the result depend on.

    Returns:
        what was found: "finished" without growth: nothing to do; "absent": it starts here; else it is to be continued.

    Raises:
        UserError: the directory holds another stage, other options, other inputs, or files that no stage wrote;
            or a file of the finished stage is gone or has another size.
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
        write_json(directory / UNFINISHED, record.as_json() | {"seconds": 0.0, "machines": [dict(machine)]})
        return found
    before = recorded(directory)
    if found.status == "finished":
        check_outputs(directory, before)
        if found.is_done:
            return found
    seconds = before["wall_seconds"] if found.status == "finished" else _seconds(directory, before)
    machines = before["machines"] + [dict(machine)] * (machine not in before["machines"])
    kept = {"seconds": seconds, "machines": machines, "growth": found.growth or before.get("growth", "")}
    write_json(directory / UNFINISHED, record.as_json() | kept)
    (directory / FINISHED).unlink(missing_ok=True)
    return found


def _seconds(directory: Path, unfinished: Mapping[str, Any]) -> float:
    """Time spent on a stage by the runs so far; the last one began with UNFINISHED and ended with its newest file."""
    began = (directory / UNFINISHED).stat().st_mtime
    newest = max(path.stat().st_mtime for path in directory.rglob("*"))
    return unfinished["seconds"] + max(0.0, newest - began)


def abandon(directory: Path) -> None:
    """Removes the record of a stage that failed at once, so that a corrected request can start in its directory."""
    if all(path.name == UNFINISHED or path.name.startswith(".") for path in directory.iterdir()):
        for path in directory.iterdir():
            if path.is_file() and path.name != ".lock":
                path.unlink()


def finish(directory: Path, record: Record, *, started: float, results: Mapping[str, Any], outputs: list[Path]) -> None:
    """Ends a stage: writes its manifest, after which it counts as finished.

    Args:
        started: time.time() at the beginning of this run of the stage.
        results: counts and scores to look up later.
        outputs: the files others read; their sizes and hashes are recorded.
    """
    before = recorded(directory)
    manifest = record.as_json() | {
        "results": dict(results),
        "outputs": {
            path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in sorted(outputs)
        },
        "command": command_line(),
        "versions": versions(),
        "machines": before["machines"],
        "wall_seconds": round(before["seconds"] + time.time() - started, 3),
    }
    write_json(directory / FINISHED, manifest)
    (directory / UNFINISHED).unlink(missing_ok=True)


def check_outputs(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Raises UserError when a file of a finished stage is gone or has another size than recorded."""
    for name, output in manifest["outputs"].items():
        path = directory / name
        found = path.stat().st_size if path.exists() else None
        if found != output["bytes"]:
            seen = "is gone" if found is None else f"has {found:,} bytes"
            raise UserError(
                f"{path}: {seen}, but the manifest records {output['bytes']:,} bytes; "
                f"delete {directory} and run the stage again"
            )


def fingerprint(path: Path) -> str:
    """Content hash of a file, a finished stage or a model directory; the same wherever it lies.

    Raises:
        UserError: nothing is there, or a stage that is not finished.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory")
    if status(path) == "unfinished":
        raise UserError(f"{path}: its stage is not finished; run the command that began it again, it continues")
    if status(path) == "finished":
        outputs = recorded(path)["outputs"]
        return sha256_json({name: output["sha256"] for name, output in outputs.items()})
    files = {file.relative_to(path): file for file in sorted(path.rglob("*")) if file.is_file()}
    seen = {place: file for place, file in files.items() if not any(part.startswith(".") for part in place.parts)}
    return sha256_json({place.as_posix(): sha256_file(file) for place, file in seen.items()})


def command_line() -> str:
    """The command of this process, its program without its folder."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
