"""The program `seqdistill`: signals first, then everything else."""

from __future__ import annotations

import io
import os
import sys

from seqdistill import endings


def main() -> None:
    """Runs the command line and ends the process; see `endings` for its exit codes."""
    _open_streams()
    endings.end(_command_line)


def run() -> int:
    """Runs the command line of `sys.argv` and returns its exit code."""
    return endings.exit_code(_command_line)


def _command_line() -> int:
    from seqdistill.command_line import execute

    for stream in (sys.stdout, sys.stderr):  # what a terminal's encoding does not have is shown as \\u2014
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return execute(sys.argv[1:])


def _open_streams() -> None:
    """Gives a standard stream that was closed (`>&-`) to nobody: the next file opened would take its place."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        stream = ("stdin", "stdout", "stderr")[opened]
        setattr(sys, stream, os.fdopen(opened, "r" if opened == 0 else "w", encoding="utf-8", closefd=False))
        setattr(sys, f"__{stream}__", getattr(sys, stream))
    os.close(opened)
