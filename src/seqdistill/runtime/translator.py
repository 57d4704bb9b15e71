"""Lines in, translations out, in order, while they arrive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from seqdistill.decoding.engine import Engine
from seqdistill.errors import LineError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions

POLL_SECONDS = 0.1
"""Seconds between a waiting reader's checks whether it is still needed."""


LOOK_AHEAD = 4096
"""Lines that wait at most."""


def translate_stream(
    engine: Engine, options: DecodingOptions, lines: Iterable[str], *, look_ahead: int = LOOK_AHEAD
) -> Iterator[str]:
    """Yields the best translation of each line, without a newline; an empty line for an empty line.

    A reader thread fills a queue of `look_ahead` lines while the engine works; each time the engine is free it takes
    whatever is waiting. So a person typing gets an answer after each line, and a file is translated in large batches.
    An error while reading, or a line that the engine does not take, is raised after the translations of those before.
    """
    assert look_ahead > 0
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(look_ahead)
    stopped = threading.Event()
    threading.Thread(target=_read, args=(lines, waiting, stopped), daemon=True).start()
    done = 0
    try:
        end: BaseException | bool = False
        while end is False:
            chunk, end = _take(waiting)
            found, error = _decoded(engine, options, chunk, done)
            done += len(chunk)
            for hypotheses in found:
                yield hypotheses[0].text
            end = error or end
        if isinstance(end, BaseException):
            raise end
    finally:
        stopped.set()


def _decoded(
    engine: Engine, options: DecodingOptions, chunk: Sequence[str], first: int
) -> tuple[list[list[TextHypothesis]], LineError | None]:
    """The hypotheses of the lines up to one that the engine does not take, and the error that says why.

    Args:
        first: number of the chunk's first line.
    """
    try:
        return engine.decode(chunk, options, line_numbers=range(first, first + len(chunk))), None
    except LineError as error:
        found, earlier = _decoded(engine, options, chunk[: error.line - first], first)
        return found, earlier or error


def _read(lines: Iterable[str], waiting: queue.Queue[str | BaseException | None], stopped: threading.Event) -> None:
    """Puts lines, then None or the error that ended them, for as long as someone takes them."""

    def put(item: str | BaseException | None) -> None:
        taken = False
        while not (taken or stopped.is_set()):
            with suppress(queue.Full):
                waiting.put(item, timeout=POLL_SECONDS)
                taken = True

    try:
        for line in lines:
            if stopped.is_set():
                return
            put(line.rstrip("\r\n"))
    except BaseException as error:
        put(error)
    else:
        put(None)


def _take(waiting: queue.Queue[str | BaseException | None]) -> tuple[list[str], BaseException | bool]:
    """All lines that wait, at least one unless the end is there; and the end: True, an error, or False."""
    chunk: list[str] = []
    item = waiting.get()
    while True:
        if not isinstance(item, str):
            return chunk, True if item is None else item
        chunk.append(item)
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            return chunk, False
