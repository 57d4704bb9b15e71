"""A command line in a process of its own, forked from one that has imported everything: milliseconds, not seconds."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch._dynamo  # which torch.optim imports when first used

from seqdistill import api, cli, command_line, pipeline
from seqdistill.runtime import ctranslate2_engine

IMPORTED = (torch._dynamo, api, command_line, pipeline, ctranslate2_engine)
LIMIT_SECONDS = 60.0
MEMORY = 16 << 30
"""Bytes of addresses that a command may take: what wants terabytes must not get them."""

Output = Literal["file", "gone", "full", "closed"]
"""Standard output: a file, a pipe that nobody reads, a full disk, or none."""
Moment = Callable[[], None]


class Ended(NamedTuple):
    """How a command line ended."""

    code: int | None
    """Exit code, of a signal its negative number; None: it was still running after LIMIT_SECONDS."""
    out: str
    err: str
    seconds: float


def run(
    words: Sequence[str],
    folder: Path,
    *,
    stdin: bytes | Path | None = b"",
    stdout: Output = "file",
    before: Moment | None = None,
    limit: float = LIMIT_SECONDS,
) -> Ended:
    """Runs `seqdistill WORDS` in a folder.

    Args:
        stdin: what it reads; a path that is opened as it is; or None: closed.
        before: called in the child before anything else.
        limit: seconds after which it is killed.
    """
    out, err = folder.with_name(f"{folder.name}.out"), folder.with_name(f"{folder.name}.err")
    if isinstance(stdin, bytes):
        text = folder.with_name(f"{folder.name}.in")
        text.write_bytes(stdin)
        stdin = text
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(words, folder, stdin, stdout, out, err, before)
    code = wait(child, limit)
    told, said = (path.read_bytes().decode(errors="replace") for path in (out, err))
    return Ended(code, told, said, time.monotonic() - began)


def wait(child: int, limit: float) -> int | None:
    """Exit code of a child, or None after it was killed for taking longer than `limit` seconds."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle], [], [], limit)
    finally:
        os.close(handle)
    if not ready:
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if ready else None


def _become(
    words: Sequence[str],
    folder: Path,
    stdin: Path | None,
    stdout: Output,
    out: Path,
    err: Path,
    before: Moment | None,
) -> None:
    """Turns the child into the command line; never returns."""
    code = 70  # of a fault of this benchmark
    try:
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        _put(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        out.write_bytes(b"")
        if stdin is not None:
            _put(os.open(stdin, os.O_RDONLY), 0)
        if stdout == "gone":
            reader, writer = os.pipe()
            os.close(reader)
            _put(writer, 1)
        elif stdout != "closed":
            _put(os.open("/dev/full" if stdout == "full" else out, os.O_WRONLY | os.O_CREAT), 1)
        sys.stdin = None if stdin is None else open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # pyright: ignore
        sys.stdout = None if stdout == "closed" else open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # pyright: ignore
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # pyright: ignore
        for number, given in ((0, stdin is not None), (1, stdout != "closed")):
            if not given:
                os.close(number)
        sys.argv = ["seqdistill", *words]
        if before is not None:
            before()
        cli.main()
    finally:
        os._exit(code)


def _put(opened: int, number: int) -> None:
    os.dup2(opened, number)
    if opened != number:
        os.close(opened)
