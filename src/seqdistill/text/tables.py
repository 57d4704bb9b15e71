"""Sentence pairs from one table: TSV, JSONL (each also compressed) or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqdistill.errors import UserError
from seqdistill.files import parse_json
from seqdistill.text.lines import PACKED, one_line, read_lines

FORMATS = (".tsv", ".jsonl", ".parquet")


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Streams the named columns of a table, row by row; line breaks within a text become spaces.

    `.tsv`: the first line names the columns, unless all of `columns` are numbers: then they count columns from 1 and
    the first line is a row like the others. Tabs separate, nothing is quoted or escaped.
    `.jsonl`: one object a line. `.parquet`: by name. In both `translation.de` also reaches into nested objects.

    Raises:
        UserError: another format, a missing column, a row with too few or too many columns, a value that is not text;
            and whatever `read_lines` finds.
    """
    path = Path(path)
    match table_format(path):
        case ".tsv":
            return _read_tsv(path, columns)
        case ".jsonl":
            return _read_jsonl(path, columns)
        case ".parquet":
            return _read_parquet(path, columns)
    packed = ", ".join(PACKED)
    raise UserError(
        f"{path}: not a table that can be read; expected {', '.join(FORMATS)}, or {packed} of the first two"
    )


def table_format(path: Path) -> str:
    """Which of FORMATS a file is by its name, compressed or not; empty for none."""
    suffix = path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
    return suffix if suffix in FORMATS and (suffix != ".parquet" or path.suffix == suffix) else ""


def text_at(row: Mapping[str, Any], column: str, where: str) -> str:
    """The text of one column of a row, also of a nested one by dots.

    Raises:
        UserError: it is missing (naming those there), is not text, or holds a NUL byte or half a surrogate pair.
    """
    value: Any = row
    for key in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or key not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else f"only {value!r}"
            raise UserError(
                f"{where}: no column {column!r}; there: {there}. Name one of them as source or target column"
            )
        value = value[key]
    if not isinstance(value, str):
        raise UserError(f"{where}: expected text in column {column!r}, found {_short(value)}; correct or drop the row")
    if "\0" in value:
        raise UserError(f"{where}: a NUL byte in column {column!r}; remove it")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{where}: half a surrogate pair in column {column!r} is not a character; correct the row")
    return one_line(value)


def _short(value: object) -> str:
    """A value as JSON shows it, cut."""
    shown = json.dumps(value, ensure_ascii=True, default=repr)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _read_tsv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Rows of a TSV file, with or without a line of names."""
    numbered = all(column.isascii() and column.isdigit() for column in columns)
    places: list[int] = []
    width = 0
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        if number == 1:
            width = len(cells)
            places = [_tsv_place(path, column, cells, numbered) for column in columns]
            if not numbered:
                continue
        if len(cells) != width:
            raise UserError(
                f"{path}, line {number:,}: expected {width} columns as in line 1, found {len(cells)}; a tab within a "
                "text must become a space, and an empty text still needs its tab"
            )
        yield tuple(cells[place] for place in places)


def _tsv_place(path: Path, column: str, names: list[str], numbered: bool) -> int:
    """Position of a column, from its name or its number."""
    if numbered:
        if not 1 <= int(column) <= len(names):
            raise UserError(f"{path}, line 1: no column {column}; it has {len(names)}, counted from 1")
        return int(column) - 1
    if column not in names:
        there = ", ".join(name if len(name) <= 40 else name[:37] + "..." for name in names)
        raise UserError(
            f"{path}, line 1: no column {column!r}; there: {there}. If this line is text already, name the columns by "
            "numbers from 1, such as 1 and 2"
        )
    return names.index(column)


def _read_jsonl(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Rows of a JSONL file."""
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}, line {number:,}"
        row = parse_json(line, where=where, remedy="expected an object a line")
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a JSON object, found {_short(row)}")
        yield tuple(text_at(row, column, where) for column in columns)


def _read_parquet(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Rows of a Parquet file, by record batches: memory stays small."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({error}); copy or make it again") from None
    with file:
        names = set(file.schema_arrow.names)
        for column in columns:
            if column not in names and column.split(".")[0] not in names:
                raise UserError(f"{path}: no column {column!r}; there: {', '.join(file.schema_arrow.names)}")
        number = 0
        roots = list(dict.fromkeys(column if column in names else column.split(".")[0] for column in columns))
        for rows in _batches(path, file, roots):
            for row in rows:
                number += 1
                yield tuple(text_at(row, column, f"{path}, row {number:,}") for column in columns)
        if number == 0:
            raise UserError(f"{path}: the table has no rows")


def _batches(path: Path, file: pq.ParquetFile, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows, some thousands at a time; pages are unpacked, and so found to be damaged, only here."""
    batches = file.iter_batches(batch_size=10_000, columns=columns)
    while True:
        try:
            batch = next(batches, None)
            rows = None if batch is None else batch.to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: a part of the Parquet file is damaged ({error}); copy or make it again") from None
        if rows is None:
            return
        yield rows
