"""Lines in, translations out, in order, while they arrive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

from seqdistill.decoding.corpus import Engine
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
    An error while reading is raised after the translations of the lines before it.
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
            numbers = range(done, done + len(chunk))
            done += len(chunk)
            for hypotheses in engine.decode(chunk, options, line_numbers=numbers):
                yield hypotheses[0].text
        if isinstance(end, BaseException):
            raise end
    finally:
        stopped.set()


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
