"""A decoded corpus: a directory of shards that a killed run continues, to the same bytes, with any number of workers.

    store.json          the record of the decoding: corpus hash, number of lines, lines a shard, engine, options
    000000.parquet ...  the shards (see shard_file.py)

The content of a shard depends on its own lines only: they are decoded in one call, which fixes the batches they fall
into, by one thread, which fixes the order of every sum. Several workers of one thread also translate more than one
worker of several threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqdistill.data.store import Store
from seqdistill.decoding.engine import Engine, described
from seqdistill.decoding.shard_file import Shard, ShardHeader, read_shard, source_hash, write_shard
from seqdistill.errors import UserError
from seqdistill.files import sweep
from seqdistill.hypothesis import TextHypothesis
from seqdistill.journal import Record
from seqdistill.machine import threads_kept
from seqdistill.options import DecodingOptions
from seqdistill.options.decoding import SHARD_LINES
from seqdistill.progress import Progress, Silent
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.workers import in_processes

_DESCRIPTION = "store.json"


class DecodedLine(NamedTuple):
    """One line of the corpus."""

    line: int
    """Its place, from 0."""
    source: str
    hypotheses: Sequence[TextHypothesis]
    """Best first; at least one, whose text may be empty."""


class ShardStore:
    """A finished decoded corpus; iterating reads it in order, a shard in memory at a time."""

    def __init__(self, path: Path, headers: Sequence[ShardHeader], *, num_new_lines: int = 0) -> None:
        """Use `open`."""
        self.path = path
        self.num_new_lines = num_new_lines
        """Lines that the call which returned this store decoded; the others were there before."""
        self._headers = headers
        self.decoding = headers[0].decoding

    @staticmethod
    def open(path: Path) -> ShardStore:
        """Reads every shard once and checks it: all there, unaltered, all of one decoding, together the corpus of it.

        Raises:
            UserError: names the first faulty shard.
        """
        path = Path(path)
        decoding = Record.kept(_described(path), path / _DESCRIPTION)
        headers, corpus = [], hashlib.sha256()
        for number, (first, last) in enumerate(_ranges(decoding.options["lines"], decoding.options["shard_lines"])):
            header, shard = read_shard(_shard_path(path, number))
            expected = ShardHeader(decoding, first, last - first, header.source_sha256)
            expected.record.check(header.record.as_json(), _shard_path(path, number))
            _add(corpus, shard.sources)
            headers.append(header)
        if corpus.hexdigest() != decoding.inputs["corpus"]:
            raise UserError(f"{path}: the shards hold another corpus than {_DESCRIPTION} says; decode it again")
        return ShardStore(path, headers)

    def __len__(self) -> int:
        """Number of lines."""
        return self.decoding.options["lines"]

    def __iter__(self) -> Iterator[DecodedLine]:
        """Every line in order.

        Raises:
            UserError: a shard changed since the store was opened.
        """
        for number, header in enumerate(self._headers):
            _, shard = read_shard(_shard_path(self.path, number), header)
            for place, (source, hypotheses) in enumerate(zip(shard.sources, shard.hypotheses, strict=True)):
                yield DecodedLine(shard.first_line + place, source, hypotheses)


def decode_to_shards(
    sources: Store | Sequence[str],
    *,
    engine: Callable[[], Engine],
    engine_fingerprint: Mapping[str, Any],
    options: DecodingOptions,
    out: Path,
    shard_lines: int = SHARD_LINES,
    workers: int = 1,
    progress: Progress | None = None,
) -> ShardStore:
    """Decodes what is not decoded yet of a corpus. The caller holds `out` or a folder above it (`files.locked`).

    Args:
        engine: called once in each worker; picklable if there are several.
        engine_fingerprint: `Engine.fingerprint` of what it returns.
        shard_lines: lines of a shard. It decides which lines share a batch, so it is part of what is compared.
        workers: processes, each of one thread with an engine of its own; 1 works in this process.

    Raises:
        UserError: nothing to decode; `out` holds another decoding (says what differs) or an altered shard (names it);
            the disk is full; workers keep dying; what the engine raises.
    """
    if workers < 1 or shard_lines < 1:
        raise UserError(f"workers and shard_lines must be 1 or more, but are {workers} and {shard_lines}")
    if not len(sources):
        raise UserError("there is nothing to decode: the corpus has no lines")
    progress, out = progress or Silent(), Path(out)
    # What every shard must be is known before any is decoded: a shard is there if its header says just that, whoever
    # wrote it and when. So a killed run, one with other workers, and one that only lacks a shard all go on alike.
    headers = _plan(sources, shard_lines, engine_fingerprint, options)
    _claim(out, headers)
    missing = [number for number, header in enumerate(headers) if not _is_there(out, number, header)]
    num_lines = sum(headers[number].num_lines for number in missing)
    title = f"decoding ({described(engine_fingerprint)})"
    progress.start(title, total=len(sources), unit="lines", done=len(sources) - num_lines)
    tasks = (_Task(_shard_path(out, number), headers[number], _lines(sources, headers[number])) for number in missing)
    start = partial(_start, engine, options)
    try:
        # Closed even after an error: then the workers end as well.
        with closing(_done(start, tasks, min(workers, len(missing)))) as done:
            for num_written in done:
                progress.advance(num_written)
    finally:
        sweep(out)
    progress.finish()
    return ShardStore(out, headers, num_new_lines=num_lines)


@dataclass(frozen=True)
class _Task:
    """A shard to be decoded."""

    path: Path
    header: ShardHeader
    sources: list[str]


def _done(
    start: Callable[[], Callable[[_Task], int]], tasks: Iterable[_Task], workers: int
) -> Generator[int, None, None]:
    """Numbers of lines of the shards as they are written, in any order."""
    if workers > 1:
        yield from in_processes(start, tasks, workers=workers)
        return
    # In this process too with one thread, or one worker's sums would differ from several workers' in their last bits.
    decode = None
    with threads_kept():
        for task in tasks:
            decode = decode or start()
            yield decode(task)


def _start(engine: Callable[[], Engine], options: DecodingOptions) -> Callable[[_Task], int]:
    """Loads the engine in a worker, which is to compute with one thread."""
    torch.set_num_threads(1)
    return partial(_decode, engine(), options)


def _decode(engine: Engine, options: DecodingOptions, task: _Task) -> int:
    """Decodes and writes one shard; returns its number of lines."""
    labelled = task.header.decoding.inputs["engine"]
    assert json.loads(json.dumps(dict(engine.fingerprint))) == labelled, "a worker's engine is that of the label"
    first = task.header.first_line
    numbers = range(first, first + len(task.sources))
    hypotheses = engine.decode(task.sources, options, line_numbers=numbers)
    write_shard(task.path, task.header, Shard(first, task.sources, hypotheses))
    return len(task.sources)


def _plan(
    sources: Store | Sequence[str], shard_lines: int, engine_fingerprint: Mapping[str, Any], options: DecodingOptions
) -> list[ShardHeader]:
    """What every shard must be; reads the corpus once, a shard in memory at a time."""
    # One pass for both: the hash of the whole corpus, and that of each shard's lines.
    corpus, hashes = hashlib.sha256(), []
    texts = sources.sources() if isinstance(sources, Store) else iter(sources)
    ranges = list(_ranges(len(sources), shard_lines))
    for first, last in ranges:
        lines = [next(texts) for _ in range(first, last)]
        _add(corpus, lines)
        hashes.append(source_hash(lines))
    decoding = Record(
        "decoding",
        {**options.values(DecodingOptions), "lines": len(sources), "shard_lines": shard_lines},
        {"corpus": corpus.hexdigest(), "engine": json.loads(json.dumps(dict(engine_fingerprint)))},
        defaults=DecodingOptions.defaults(),
    )
    return [ShardHeader(decoding, first, last - first, sha) for (first, last), sha in zip(ranges, hashes, strict=True)]


def _claim(out: Path, headers: Sequence[ShardHeader]) -> None:
    """Makes `out` the directory of this decoding, or checks that it is."""
    # The description comes before the first shard: files in a directory without one are something else's.
    sweep(out)
    expected = {_shard_path(out, number) for number in range(len(headers))}
    if (out / _DESCRIPTION).exists():
        headers[0].decoding.check(_described(out), out)
        strangers = sorted(set(out.glob("*.parquet")) - expected)
    else:
        strangers = sorted(out.glob("*"))
    if strangers:
        raise UserError(
            f"{out}: holds {strangers[0].name}, which is not part of this decoding; "
            "give another directory, or delete what is there"
        )
    write_sealed(out / _DESCRIPTION, headers[0].decoding.as_json())


def _described(out: Path) -> dict[str, Any]:
    """The record of what is there, as it was kept."""
    remedy = f"delete {out} and run the same command again: it decodes again"
    return read_sealed(out / _DESCRIPTION, remedy=remedy)


def _is_there(out: Path, number: int, header: ShardHeader) -> bool:
    """Whether a shard was written before; reads and checks it."""
    path = _shard_path(out, number)
    if not path.exists():
        return False
    read_shard(path, header)
    return True


def _lines(sources: Store | Sequence[str], header: ShardHeader) -> list[str]:
    numbers = range(header.first_line, header.first_line + header.num_lines)
    if isinstance(sources, Store):
        return [sources.source_text(line) for line in numbers]
    return [sources[line] for line in numbers]


def _ranges(num_lines: int, shard_lines: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + shard_lines, num_lines)) for first in range(0, num_lines, shard_lines))


def _add(corpus: hashlib._Hash, lines: Iterable[str]) -> None:
    """Adds lines as a text file holds them: the hash of a corpus is that of its file."""
    for line in lines:
        corpus.update(f"{line}\n".encode())


def _shard_path(out: Path, number: int) -> Path:
    return out / f"{number:06d}.parquet"
