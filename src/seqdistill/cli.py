"""The program `seqdistill`: signals first, then everything else."""

from __future__ import annotations

import io
import os
import sys

from seqdistill.endings import Ending


def main() -> None:
    """Runs the command line and ends the process; see `endings` for its exit codes."""
    _open_streams()
    with Ending(ends_process=True) as ending:
        from seqdistill.command_line import execute

        _show_what_is_not_encoded()
        ending.code = execute(sys.argv[1:])


def run() -> int:
    """Runs the command line of `sys.argv` and returns its exit code."""
    with Ending(ends_process=False) as ending:
        from seqdistill.command_line import execute

        _show_what_is_not_encoded()
        ending.code = execute(sys.argv[1:])
    return ending.code


def _show_what_is_not_encoded() -> None:
    """What the encoding of a terminal does not have is shown as \\u2014."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_streams() -> None:
    """Gives a standard stream that was closed (`>&-`) to nobody: the next file opened would take its place."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        stream = ("stdin", "stdout", "stderr")[opened]
        setattr(sys, stream, os.fdopen(opened, "r" if opened == 0 else "w", encoding="utf-8", closefd=False))
        setattr(sys, f"__{stream}__", getattr(sys, stream))
    os.close(opened)
