"""Token store: one memory-mapped Arrow IPC file with the text and the token ids of every sentence pair.

Columns: `source`, `target` (text), `source_ids`, `target_ids` (lists of subword ids, without BOS and EOS). An empty
last record batch seals the file with the counts and the fingerprint: the hash of the content of all record batches.
`data.json` beside it has the hash of the file, against which a data directory reads it before Arrow does; opening then
reads the footer and the last record batch only.
"""

from __future__ import annotations

import hashlib
import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Integer

from seqdistill.data.encoding import Encoded, encode
from seqdistill.errors import UserError
from seqdistill.files import sha256, written_beside
from seqdistill.progress import Progress, Silent
from seqdistill.vocabulary.vocabularies import Vocabularies

FORMAT = "seqdistill token store 2"
ROWS = 16_384
"""Pairs in a record batch at most: what building holds in memory."""
CHARACTERS = 1 << 24
"""Characters in a record batch, after which it ends early."""


class StoreCounts(NamedTuple):
    """What a store holds."""

    pairs: int
    source_tokens: int
    target_tokens: int
    source_unknown: int
    """Source tokens that the vocabulary does not cover (UNK); 0 of a vocabulary that covers everything."""
    target_unknown: int
    source_altered: int
    """Source lines that decoding does not give back: normalised, or with a character that the vocabulary lacks."""
    target_altered: int
    empty: int
    """Pairs left out because a side has no token."""


def build_store(
    pairs: Iterable[tuple[str, str]],
    tokenizers: Vocabularies,
    path: Path,
    *,
    drop_empty: bool = False,
    progress: Progress | None = None,
) -> StoreCounts:
    """Encodes the pairs into a new store, streaming: memory does not grow with their number.

    Args:
        drop_empty: leave out pairs with a side of no token, which nothing can be learned from; `empty` counts them.
        path: written beside and renamed, so it is the whole store or absent.

    Raises:
        UserError: the disk is full.
    """
    progress = progress or Silent()
    schema = _schema(tokenizers)
    total = np.zeros(len(StoreCounts._fields), dtype=np.int64)
    digests: list[str] = []
    progress.start(f"storing {path.name}", total=None, unit="pairs")
    with (
        written_beside(path) as beside,
        beside.open("wb") as file,  # Arrow opens no path that is not UTF-8
        pa.ipc.new_file(file, schema) as writer,
    ):
        for chunk in _chunks(pairs):
            encoded = encode(chunk, tokenizers, drop_empty=drop_empty)
            record_batch = _record_batch(encoded, schema)
            digests.append(_digest(record_batch))
            total += _count(record_batch, encoded, tokenizers, empty=len(chunk) - len(encoded.sources))
            writer.write_batch(record_batch)
            progress.advance(len(chunk))
        counts = StoreCounts(*total.tolist())
        writer.write_batch(_empty(schema), custom_metadata=_seal(counts, _fingerprint(schema, digests)))
    progress.finish()
    return counts


def _schema(tokenizers: Vocabularies) -> pa.Schema:
    widest = max(len(tokenizers.source), len(tokenizers.target))
    # Two bytes a token where they are enough: most vocabularies have fewer than 65,536 tokens.
    ids = pa.list_(pa.uint16() if widest <= 1 << 16 else pa.int32())
    return pa.schema(
        [("source", pa.string()), ("target", pa.string()), ("source_ids", ids), ("target_ids", ids)],
        metadata={"format": FORMAT, "tokenizers": tokenizers.fingerprint},
    )


def _chunks(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    chunk, characters = [], 0
    for source, target in pairs:
        chunk.append((source, target))
        characters += len(source) + len(target)
        if len(chunk) == ROWS or characters >= CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _record_batch(encoded: Encoded, schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array(c, field.type) for c, field in zip(encoded, schema, strict=True)], schema=schema)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


def _views(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (rows + 1) and contents of a text or list column, as views of the Arrow buffers."""
    # Arrow keeps a text or list column as one array of contents and one of offsets: row i is contents[o[i]:o[i + 1]].
    buffers = column.buffers()
    offsets = np.frombuffer(buffers[1], dtype=np.int32, count=len(column) + 1) if len(column) else np.zeros(1, np.int32)
    kind = column.type.value_type.to_pandas_dtype() if pa.types.is_list(column.type) else np.uint8
    return offsets, np.frombuffer(buffers[-1] or b"", dtype=kind)


def _digest(record_batch: pa.RecordBatch) -> str:
    digest = hashlib.sha256(record_batch.num_rows.to_bytes(8, "little"))
    for column in record_batch.columns:
        offsets, content = _views(column)
        # Offsets too, as contents alone would not tell ab c from a bc. Arrow's buffers may be longer than what is used.
        digest.update(offsets.data)
        digest.update(np.ascontiguousarray(content[: offsets[-1]]).data)
    return digest.hexdigest()


def _count(record_batch: pa.RecordBatch, encoded: Encoded, tokenizers: Vocabularies, *, empty: int) -> StoreCounts:
    source, target = (_views(record_batch.column(name)) for name in ("source_ids", "target_ids"))
    return StoreCounts(
        pairs=record_batch.num_rows,
        source_tokens=int(source[0][-1]),
        target_tokens=int(target[0][-1]),
        source_unknown=_occurrences(source, tokenizers.source.ids.unk),
        target_unknown=_occurrences(target, tokenizers.target.ids.unk),
        source_altered=tokenizers.source.altered(encoded.sources, encoded.source_ids),
        target_altered=tokenizers.target.altered(encoded.targets, encoded.target_ids),
        empty=empty,
    )


def _occurrences(column: tuple[np.ndarray, np.ndarray], token: int | None) -> int:
    offsets, ids = column
    return 0 if token is None else int(np.count_nonzero(ids[: offsets[-1]] == token))


def _fingerprint(schema: pa.Schema, digests: list[str]) -> str:
    return sha256("\n".join([FORMAT, schema.metadata[b"tokenizers"].decode(), *digests]))


def _seal(counts: StoreCounts, fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint} | {name: str(value) for name, value in counts._asdict().items()}


class Store:
    """A store opened for reading: nothing is copied into memory until it is asked for."""

    path: Path
    counts: StoreCounts
    fingerprint: str
    """Hash of the content and of the tokenizers that encoded it."""
    tokenizers_fingerprint: str

    def __init__(self, path: Path, reader: pa.RecordBatchFileReader):
        self.path = path
        # The last record batch is empty and carries the seal: a file that was cut has none, or cannot be opened at all.
        self._batches = [reader.get_batch(k) for k in range(reader.num_record_batches - 1)]
        self._starts = np.cumsum([0] + [b.num_rows for b in self._batches]).tolist()
        self._ids = {name: [_views(b.column(name)) for b in self._batches] for name in ("source_ids", "target_ids")}
        _, seal = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        values = {key.decode(): value.decode() for key, value in seal.items()}
        self.counts = StoreCounts(*(int(values[name]) for name in StoreCounts._fields))
        self.fingerprint = values["fingerprint"]
        self.tokenizers_fingerprint = reader.schema.metadata[b"tokenizers"].decode()
        if self._starts[-1] != self.counts.pairs:
            raise UserError(f"{path}: holds {self._starts[-1]} pairs, its seal says {self.counts.pairs}; {_REMEDY}")

    @staticmethod
    def open(path: Path) -> Store:
        """Maps a store into memory; takes milliseconds. Whoever opens one that others could alter has checked its hash.

        Raises:
            UserError: no such file, a file that was cut or is no token store.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such token store; `seqdistill prepare` makes one")
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(mapped))
            if (reader.schema.metadata or {}).get(b"format") != FORMAT.encode():
                raise UserError(f"{path}: expected a {FORMAT}, found another Arrow file; {_REMEDY}")
            return Store(path, reader)
        except UserError:  # is a ValueError too
            raise
        except (pa.ArrowException, OSError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise UserError(
                f"{path}: expected a {FORMAT}, found a file that was cut or altered ({error}); {_REMEDY}"
            ) from None

    def __len__(self) -> int:
        return self.counts.pairs

    def source_ids(self, i: int) -> Integer[np.ndarray, " tokens"]:
        """Token ids of a source, without EOS: a read-only view of the file."""
        return self._view("source_ids", i)

    def target_ids(self, i: int) -> Integer[np.ndarray, " tokens"]:
        """Token ids of a target, without EOS: a read-only view of the file."""
        return self._view("target_ids", i)

    def source_text(self, i: int) -> str:
        """The source as it was given."""
        return self._text("source", i)

    def target_text(self, i: int) -> str:
        """The target as it was given."""
        return self._text("target", i)

    def sources(self) -> Iterator[str]:
        """Every source text in order."""
        return (text for batch in self._batches for text in batch.column("source").to_pylist())

    def targets(self) -> Iterator[str]:
        """Every target text in order."""
        return (text for batch in self._batches for text in batch.column("target").to_pylist())

    @property
    def source_lengths(self) -> Int[np.ndarray, " pairs"]:
        """Number of source tokens of every pair, without EOS."""
        return self._lengths("source_ids")

    @property
    def target_lengths(self) -> Int[np.ndarray, " pairs"]:
        """Number of target tokens of every pair, without EOS."""
        return self._lengths("target_ids")

    def _place(self, i: int) -> tuple[int, int]:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: pair {i} of {len(self)}")
        # Record batches begin at 0 4 9: pair 5 is row 1 of batch 1.
        k = bisect_right(self._starts, i) - 1
        return k, i - self._starts[k]

    def _view(self, name: str, i: int) -> np.ndarray:
        k, row = self._place(i)
        offsets, values = self._ids[name][k]
        return values[offsets[row] : offsets[row + 1]]

    def _text(self, name: str, i: int) -> str:
        k, row = self._place(i)
        return cast(str, self._batches[k].column(name)[row].as_py())

    def _lengths(self, name: str) -> np.ndarray:
        parts = [np.diff(offsets) for offsets, _ in self._ids[name]]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)


_REMEDY = "delete it and run the command that made it again"
