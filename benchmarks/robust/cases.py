"""What a trial is: a command line, and whether it is well formed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.robust.process import Output

Wanted = Literal["done", "refused", "either"]


class Case(NamedTuple):
    """A command line in a folder that was prepared for it."""

    kind: str
    """What is tried, in words."""
    words: list[str]
    wanted: Wanted
    """`either` where it is a matter of taste, as a flipped letter in a text: not a traceback, that is."""
    stdin: bytes | Path | None = b""
    stdout: Output = "file"
    lines_out: int | None = None
    """Lines that standard output must have, if it is done."""
    says: str = ""
    """What standard output must hold, if it is done."""


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, without one that a kill cut short; none where there is no file."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []
