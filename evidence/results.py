"""What was measured, as one JSON file per claim: the figures, and how, when and where they came about."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json

NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def _check_cell(value: Any) -> Any:
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("expected text, a finite number, true, false or null")


Cell = Annotated[Any, AfterValidator(_check_cell)]


class Machine(BaseModel):
    """Where a result was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str = Field(min_length=1)
    cores: int = Field(gt=0)
    memory_gb: FiniteFloat = Field(gt=0)
    accelerator: str | None
    os: str
    python: str
    torch: str


class Result(BaseModel):
    """One measured claim.

    Args:
        claim: what the figures are to show, in one sentence.
        command: how it was run, from the repository's root.
        commit: git's HEAD, ending in `-dirty` when tracked files other than results differed from it.
        wall_seconds: from the start of the run to its end.
        figures: the few numbers that carry the claim, by name.
        rows: one flat object per system: system, data, objective, seed, metrics, signatures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str = Field(min_length=1)
    command: str = Field(min_length=1)
    commit: str = Field(min_length=1)
    machine: Machine
    wall_seconds: FiniteFloat = Field(ge=0)
    figures: dict[str, FiniteFloat]
    rows: list[dict[str, Cell]]


def write_result(
    name: str,
    *,
    claim: str,
    figures: Mapping[str, float],
    rows: Sequence[Mapping[str, object]],
    started: float,
    path: Path = Path("results"),
) -> Path:
    """Writes `path`/NAME.json with the command, commit, machine and wall time filled in.

    Args:
        started: `time.monotonic()` at the beginning of the run.

    Returns:
        the file written.

    Raises:
        UserError: a name that is no file name, or a figure or cell that is not a finite number, text, or nothing.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"result name {name!r}: expected lower-case words joined by - or _, such as 'table-2'")
    file = path / f"{name}.json"
    content = {
        "claim": claim,
        "command": command(sys.orig_argv, Path.cwd()),
        "commit": commit(Path.cwd()),
        "machine": machine().model_dump(),
        "wall_seconds": round(time.monotonic() - started, 1),
        "figures": dict(figures),
        "rows": [dict(row) for row in rows],
    }
    write_json(file, _validated(content, file).model_dump())
    return file


def read_result(path: Path) -> Result:
    """Reads one result.

    Raises:
        UserError: no such file, or one that does not hold a result; says which field is wrong.
    """
    return _validated(read_json(path), path)


def read_results(path: Path) -> dict[str, Result]:
    """Reads every result of a folder, by name, in alphabetical order.

    Raises:
        UserError: no such folder, or a file in it that does not hold a result.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder of results; run a benchmark, which writes there, or give another one")
    return {file.stem: read_result(file) for file in sorted(path.glob("*.json"))}


def _validated(content: object, file: Path) -> Result:
    try:
        return Result.model_validate(content, strict=True)
    except ValidationError as error:
        faults = "; ".join(_fault(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors()[:5])
        raise UserError(f"{file}: not a result: {faults}; write it with evidence.results.write_result") from None


def _fault(place: tuple[int | str, ...], message: str, found: object) -> str:
    return f"{'.'.join(map(str, place)) or 'file'}: {message}, found {json.dumps(found, default=str)[:80]}"


def command(argv: Sequence[str], directory: Path) -> str:
    """The command line that runs again from `directory`: interpreter and scripts by name, no absolute path.

    Args:
        argv: as in `sys.orig_argv`, with the interpreter first.
    """
    words = [_relative(word, directory) for word in argv[1:]]
    if words and Path(argv[1]).is_absolute() and not argv[1].endswith(".py"):
        return " ".join([Path(argv[1]).name, *words[1:]])  # an installed program, such as seqdistill
    return " ".join(["python", *words])


def _relative(word: str, directory: Path) -> str:
    """A path below or beside the directory becomes relative; one elsewhere keeps only its last part."""
    prefix, separator, value = word.rpartition("=")
    if not Path(value).is_absolute():
        return word
    inside = Path(value).is_relative_to(directory.parent)
    return prefix + separator + (os.path.relpath(value, directory) if inside else Path(value).name)


def commit(directory: Path) -> str:
    """HEAD of the repository around `directory`, with `-dirty` if its tracked files differ; `unknown` without one."""
    head = _git(["rev-parse", "HEAD"], directory)
    if head is None:
        return "unknown"
    changed = _git(["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results"], directory)
    return f"{head}-dirty" if changed else head


def _git(arguments: Sequence[str], directory: Path) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> Machine:
    """The machine this process runs on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=models[0] if models else platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        accelerator=_accelerator(),
        os=f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        python=platform.python_version(),
        torch=importlib.metadata.version("torch"),
    )


def _accelerator() -> str | None:
    """Name of the CUDA device, when the run itself has used torch on one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda.get_device_name()
