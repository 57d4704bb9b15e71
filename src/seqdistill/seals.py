"""Seals: what is stored says itself what it must be, so that no altered bit is believed.

A sealed JSON file, and a row of a log, carries the hash of its content. Any other file is listed with its hash in a
sealed file: the manifest of its stage, or a description beside it. Readers check before they parse, as the parsers of
Arrow, Parquet, SentencePiece and CTranslate2 can crash on altered bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import read_json, sha256_file, sha256_json, write_json

SEAL = "seal"
"""Key of the hash of everything else in a JSON object."""
_DIGITS = 8
"""Of the hash in a row: enough for a flipped bit, short enough to read the rest."""


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object with its seal, atomically; raises as `write_json`."""
    write_json(path, {**content, SEAL: _seal(content)})


def read_sealed(path: Path, *, remedy: str) -> dict[str, Any]:
    """The content of a sealed file, without the seal.

    Args:
        remedy: the end of the message.

    Raises:
        UserError: no such file, or one that was cut or altered, or never sealed.
    """
    try:
        found = read_json(path)
    except UserError as error:
        if not path.is_file():
            raise
        raise UserError(f"{error}; {remedy}") from None
    seal = found.pop(SEAL, None) if isinstance(found, dict) else None
    if seal is None:
        raise UserError(f"{path}: has no seal: altered, or written by an earlier edition of seqdistill; {remedy}")
    if not _fits(seal, found):
        raise UserError(f"{path}: was altered since it was written (its seal does not fit); {remedy}")
    return found


def check_description(
    found: Mapping[str, Any], path: Path, *, version: int, kinds: Mapping[str, type | tuple[type, ...]], remedy: str
) -> None:
    """Raises UserError for a sealed description of another format than `version`, or without a field of these kinds."""
    if found.get("format") != version:
        raise UserError(
            f"{path}: format {found.get('format')!r}, but this version of seqdistill reads format {version}: export "
            "the model again"
        )
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise UserError(f"{path}: {key!r} is missing or of another kind; {remedy}")


def sealed_row(row: Mapping[str, Any]) -> str:
    """A row of a log as a line of JSON, with its seal.

    >>> sealed_row({"kind": "valid", "update": 10, "loss": 2.5})
    '{"kind": "valid", "update": 10, "loss": 2.5, "seal": "5a9a44a3"}'
    """
    return json.dumps({**row, SEAL: _seal(row)[:_DIGITS]})


def read_rows(path: Path, lines: Iterable[str], *, remedy: str) -> list[dict[str, Any]]:
    """The rows of a log from its lines, without their seals.

    Raises:
        UserError: a line that was cut or altered; names it.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not _fits(row.pop(SEAL, None), row, digits=_DIGITS):
            raise UserError(f"{path}, line {number:,}: was altered since it was written; {remedy}")
        rows.append(row)
    return rows


def listing(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hashes of files of a folder, to be kept in a sealed file beside them."""
    return {name: sha256_file(folder / name) for name in names}


def check_listing(folder: Path, listed: Mapping[str, str], *, remedy: str) -> None:
    """Raises UserError unless every file is there with the hash that it was listed with."""
    for name, expected in listed.items():
        check_file(folder / name, expected, remedy=remedy)


def check_file(path: Path, expected: str, *, remedy: str) -> None:
    """Raises UserError unless the file is there and has this SHA-256."""
    if not path.is_file():
        raise UserError(f"{path}: is gone; {remedy}")
    if (found := sha256_file(path)) != expected:
        raise UserError(
            f"{path}: was cut or altered since it was written (SHA-256 {found[:12]}, not {expected[:12]}); {remedy}"
        )


def _fits(seal: object, content: Mapping[str, Any], *, digits: int | None = None) -> bool:
    """Whether the seal, or so many digits of it, is that of the content."""
    try:
        return seal == _seal(content)[:digits]
    except UnicodeEncodeError:  # halves of surrogate pairs, which no seal of ours was ever made of
        return False


def _seal(content: Mapping[str, Any]) -> str:
    """Of the content as JSON gives it back: keys as text, tuples as lists."""
    return sha256_json(json.loads(json.dumps(content)))
