"""Work in a process of its own, so that its memory and its imports are measured alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from seqdistill.runtime.latency import peak_mb

__all__ = ["Run", "in_fresh_process", "peak_mb"]

Run = Callable[[Path], dict[str, float]]


def in_fresh_process(function: Run, folder: Path) -> dict[str, float]:
    """What the function returns in a Python of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(function, folder, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def _send(function: Run, folder: Path, connection: Connection) -> None:
    connection.send(function(folder))
