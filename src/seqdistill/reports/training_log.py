"""Reads back what a training has logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a training's log.jsonl; a last row that is still being written is left out.

    Raises:
        UserError: no such file, or a line that is no JSON object.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such log; it is written by seqdistill train")
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); the log was altered") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: expected a JSON object, found {line[:60]}; the log was altered")
        rows.append(row)
    return rows
