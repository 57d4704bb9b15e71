"""One shard of a decoded corpus: a Parquet file that describes its content and carries its own hash.

Columns: `line` (from 0), `source`, `hypotheses` (list of struct text, log_prob, score; best first). The file's metadata
holds, under `seqdistill`, the decoding it belongs to, its lines, the SHA-256 of its sources, and that of the file. Any
Parquet reader (Ray Data, pandas, DuckDB) reads it as it is; equal content gives equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seqdistill.errors import UserError
from seqdistill.files import sha256, sha256_json, written_beside
from seqdistill.hypothesis import TextHypothesis
from seqdistill.journal import Record

_HYPOTHESIS = pa.struct(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("log_prob", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("hypotheses", pa.list_(pa.field("element", _HYPOTHESIS, nullable=False)), nullable=False),
    ]
)
_COLUMNS = tuple(field.name for field in _HYPOTHESIS)
_METADATA = b"seqdistill"
_MARK, _UNKNOWN = b'"file_sha256": "', b"0" * 64
"""The file's hash stands after the last mark in it, and is that of the file with zeros in its place: so all of the file
is checked before anything of it is parsed, and no second file can be lost."""
_REMEDY = "delete this file and run the same command again: only its lines are decoded again"


@dataclass(frozen=True)
class ShardHeader:
    """What a shard must be."""

    decoding: Record
    """The decoding it is part of."""
    first_line: int
    num_lines: int
    source_sha256: str
    """`source_hash` of its sources."""

    @property
    def record(self) -> Record:
        """The record that the file keeps."""
        place = {"first_line": self.first_line, "num_lines": self.num_lines}
        whole = self.decoding
        sources = {"sources": self.source_sha256}
        return Record("shard", {**whole.options, **place}, {**whole.inputs, **sources}, whole.defaults)

    @staticmethod
    def kept(recorded: Any, path: Path) -> ShardHeader:
        """The header of a file, from its record; raises UserError if it is of another edition."""
        record = Record.kept(recorded, path)
        options, inputs = dict(record.options), dict(record.inputs)
        first_line, num_lines, sources = options.pop("first_line"), options.pop("num_lines"), inputs.pop("sources")
        return ShardHeader(Record("decoding", options, inputs), first_line, num_lines, sources)


@dataclass(frozen=True)
class Shard:
    """Consecutive lines of a corpus and what the model wrote for them."""

    first_line: int
    sources: Sequence[str]
    hypotheses: Sequence[Sequence[TextHypothesis]]


def source_hash(sources: Sequence[str]) -> str:
    """SHA-256 of the lines of a shard, in order."""
    return sha256_json(list(sources))


def write_shard(path: Path, header: ShardHeader, shard: Shard) -> None:
    """Writes a shard so that it is there whole or not at all.

    Raises:
        UserError: the disk is full.
    """
    assert len(shard.sources) == len(shard.hypotheses) == header.num_lines, "a shard has one entry for each line"
    assert all(shard.hypotheses), "every line has a hypothesis, if an empty one"
    counts = [len(hypotheses) for hypotheses in shard.hypotheses]
    flat = [hypothesis for hypotheses in shard.hypotheses for hypothesis in hypotheses]
    columns = {name: [getattr(hypothesis, name) for hypothesis in flat] for name in _COLUMNS}
    description = header.record.as_json() | {"file_sha256": _UNKNOWN.decode()}
    offsets = pa.array([0, *_running_sum(counts)], pa.int32())  # counts 2 1: offsets 0 2 3
    structs = pa.StructArray.from_arrays(
        [pa.array(columns[field.name], field.type) for field in _HYPOTHESIS], fields=list(_HYPOTHESIS)
    )
    table = pa.Table.from_arrays(
        [
            pa.array(range(header.first_line, header.first_line + header.num_lines), pa.int64()),
            pa.array(shard.sources, pa.string()),
            pa.ListArray.from_arrays(offsets, structs, type=SCHEMA.field("hypotheses").type),
        ],
        schema=SCHEMA.with_metadata({_METADATA: json.dumps(description, sort_keys=True, ensure_ascii=False).encode()}),
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    with written_beside(path) as beside:
        beside.write_bytes(_sealed(buffer.getvalue().to_pybytes()))


def read_shard(path: Path, expected: ShardHeader | None = None) -> tuple[ShardHeader, Shard]:
    """Reads a shard, every bit of which is checked before it is parsed.

    Args:
        expected: what the shard must be; None: whatever it says it is.

    Raises:
        UserError: no such file; cut, altered, or no shard at all; the shard of another decoding (says what differs).
    """
    if not path.is_file():
        raise UserError(f"{path}: no such shard; run the command that decodes again, it continues")
    content = path.read_bytes()
    if not _is_whole(content):
        raise UserError(f"{path}: this shard was cut or altered (its checksum does not fit); {_REMEDY}")
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    description = json.loads(table.schema.metadata[_METADATA])
    del description["file_sha256"]
    header = ShardHeader.kept(description, path)
    if expected:
        expected.record.check(description, path)
    sources, counts, flat = _columns(table)
    hypotheses = [TextHypothesis(*values) for values in zip(*(flat[name] for name in _COLUMNS), strict=True)]
    ends = _running_sum(counts)
    grouped = [hypotheses[end - count : end] for end, count in zip(ends, counts, strict=True)]
    return header, Shard(header.first_line, sources, grouped)


def _sealed(content: bytes) -> bytes:
    """The file with its hash in place of the zeros."""
    at = content.rindex(_MARK) + len(_MARK)
    assert content[at : at + 64] == _UNKNOWN, "metadata come last in a Parquet file, and hold the last mark"
    return content[:at] + sha256(content).encode() + content[at + 64 :]


def _is_whole(content: bytes) -> bool:
    at = content.rfind(_MARK) + len(_MARK)
    return content[at : at + 64] == sha256(content[:at] + _UNKNOWN + content[at + 64 :]).encode()


def _columns(table: pa.Table) -> tuple[list[str], list[int], dict[str, list[Any]]]:
    """Sources, hypotheses a line, and the fields of all hypotheses."""
    hypotheses = table.column("hypotheses").combine_chunks()
    if isinstance(hypotheses, pa.ChunkedArray):
        hypotheses = pa.concat_arrays(hypotheses.chunks)
    structs = hypotheses.flatten()
    flat = {name: structs.field(name).to_pylist() for name in _COLUMNS}
    return table.column("source").to_pylist(), hypotheses.value_lengths().to_pylist(), flat


def _running_sum(counts: Sequence[int]) -> list[int]:
    total, ends = 0, []
    for count in counts:
        total += count
        ends.append(total)
    return ends
