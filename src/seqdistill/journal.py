"""A stage's directory: what it was asked, what it read and made; finished, unfinished, never silently reused."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from seqdistill.errors import UserError
from seqdistill.files import differences, read_json, sha256_file, sha256_json, write_json

Status = Literal["finished", "unfinished", "absent"]

FINISHED, UNFINISHED = "manifest.json", "unfinished.json"
_PACKAGES = ("seqdistill", "torch", "numpy", "pyarrow", "sentencepiece", "sacrebleu", "ctranslate2")


@dataclass(frozen=True)
class Request:
    """What a stage is asked to do: equal requests give equal bytes."""

    kind: str
    """The verb: prepare, train, distill, evaluate."""
    settings: Mapping[str, Any]
    """Every option that changes the result, as JSON-able values."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name to content hash of everything read."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of `settings`: what a stage did that was recorded before an option existed."""

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "settings": dict(self.settings), "inputs": dict(self.inputs)}


def changes(recorded: Mapping[str, Any], request: Request) -> list[str]:
    """What distinguishes a recorded stage from the one asked for, a line each; empty when nothing does."""
    there = {key: recorded.get(key) for key in ("kind", "settings", "inputs")}
    there["settings"] = dict(request.defaults) | (there["settings"] or {})
    return differences(there, request.as_json())


def status(directory: Path) -> Status:
    """Whether a stage finished in this directory, began there, or was never there."""
    if (directory / FINISHED).exists():
        return "finished"
    return "unfinished" if (directory / UNFINISHED).exists() else "absent"


def begin(directory: Path, request: Request) -> Status:
    """Looks whether the directory already holds this very stage, and marks it as begun if it is new.

    Returns:
        "finished": nothing to do; "unfinished": an earlier run was cut off, continue it; "absent": it starts here.

    Raises:
        UserError: the directory holds another stage, other settings, other inputs, or files that no stage wrote;
            or a file of the finished stage is gone or has another size.
    """
    found = status(directory)
    if found == "absent":
        strangers = sorted(path.name for path in directory.glob("*") if not path.name.startswith("."))
        if strangers:
            raise UserError(
                f"{directory}: holds {', '.join(strangers[:5])}, but no stage of seqdistill wrote here; "
                "give an empty or new directory as --out"
            )
        write_json(directory / UNFINISHED, request.as_json() | {"seconds": 0.0})
        return found
    recorded = read_json(directory / (FINISHED if found == "finished" else UNFINISHED))
    if changed := changes(recorded, request):
        listed = "\n  ".join(changed)
        raise UserError(
            f"{directory}: holds a stage that differs from this one:\n  {listed}\n"
            "give another --out, ask for the same again, or delete the directory"
        )
    if found == "finished":
        check_outputs(directory, recorded)
    else:
        write_json(directory / UNFINISHED, recorded | {"seconds": _seconds(directory, recorded)})
    return found


def _seconds(directory: Path, unfinished: Mapping[str, Any]) -> float:
    """Time spent on a stage by the runs so far; the last one began with UNFINISHED and ended with its newest file."""
    began = (directory / UNFINISHED).stat().st_mtime
    newest = max(path.stat().st_mtime for path in directory.rglob("*"))
    return unfinished.get("seconds", 0.0) + max(0.0, newest - began)


def abandon(directory: Path) -> None:
    """Takes back a beginning that came to nothing, so that a corrected request may begin in the same directory."""
    if all(path.name == UNFINISHED or path.name.startswith(".") for path in directory.iterdir()):
        for path in directory.iterdir():
            if path.is_file() and path.name != ".lock":
                path.unlink()


def finish(
    directory: Path, request: Request, *, started: float, results: Mapping[str, Any], outputs: list[Path]
) -> None:
    """Ends a stage: writes its manifest, after which it counts as finished.

    Args:
        started: time.time() at the beginning of this run of the stage.
        results: what is worth knowing later: counts, scores.
        outputs: the files others read; their sizes and hashes are recorded.
    """
    before = read_json(directory / UNFINISHED).get("seconds", 0.0)
    manifest = request.as_json() | {
        "results": dict(results),
        "outputs": {
            path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in sorted(outputs)
        },
        "command": command_line(),
        "versions": versions(),
        "wall_seconds": round(before + time.time() - started, 3),
    }
    write_json(directory / FINISHED, manifest)
    (directory / UNFINISHED).unlink(missing_ok=True)


def check_outputs(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Raises UserError when a file of a finished stage is gone or has another size than recorded."""
    for name, recorded in manifest.get("outputs", {}).items():
        path = directory / name
        found = path.stat().st_size if path.exists() else None
        if found != recorded["bytes"]:
            seen = "is gone" if found is None else f"has {found:,} bytes"
            raise UserError(
                f"{path}: {seen}, but the manifest records {recorded['bytes']:,} bytes; "
                f"delete {directory} and run the stage again"
            )


def fingerprint(path: Path) -> str:
    """A hash of what a file, a finished stage or a model directory holds, wherever it lies.

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
        outputs = read_json(path / FINISHED)["outputs"]
        return sha256_json({name: recorded["sha256"] for name, recorded in outputs.items()})
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
