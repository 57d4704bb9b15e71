"""Whether a directory holds an exported model; asked by much that never reads one, so nothing else is imported here."""

from __future__ import annotations

from pathlib import Path

DESCRIPTION = "export.json"


def is_exported(directory: str | Path) -> bool:
    """Whether `export` wrote this directory for the compiled engine."""
    return (Path(directory) / DESCRIPTION).is_file()
