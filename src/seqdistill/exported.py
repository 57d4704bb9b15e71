"""Whether a directory holds an exported model; asked by much that never reads one, so nothing else is imported here."""

from __future__ import annotations

from pathlib import Path

DESCRIPTION = "export.json"
"""What describes a model for the compiled engine."""
LISTING = "seqdistill.json"
"""What describes one for CTranslate2; a tokenizer's folder has a file of this name too."""
CONVERTED = "model.bin"
"""The weights of CTranslate2."""
VERIFIED = "verified.tsv"
"""Validation text as the trained and the exported model translate it; no engine reads it."""


def is_exported(directory: str | Path) -> bool:
    """Whether `export` wrote this directory for the compiled engine."""
    return (Path(directory) / DESCRIPTION).is_file()


def exported_for(directory: str | Path) -> str | None:
    """The engine that `export` wrote this directory for; None of any other directory."""
    if is_exported(directory):
        return "compiled"
    converted = all((Path(directory) / name).is_file() for name in (CONVERTED, LISTING))
    return "ctranslate2" if converted else None
