"""Systems in processes of their own, on the same cores, with no more threads than these: started, asked, ended."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.runtime.latency import Timed
from seqdistill.runtime.one_system import Place

LOADS = 3
"""Processes that load a system, one after the other; the median of their times counts."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that say how many threads libraries start."""


class Batch(NamedTuple):
    """A text decoded in batches."""

    seconds: float
    texts: list[str]


class Load(NamedTuple):
    """What it takes to load a system and to translate a few lines, in a process that does nothing else."""

    milliseconds: float
    """Until it is ready to translate, imports included; Python itself not."""
    peak_mb: float
    """Most memory resident, in MB of 10^6 bytes, Python included."""


class MeasuredSystem:
    """A system that translates in its own process; use it as a context, whose end ends the process.

    Raises:
        UserError: from every method: what the system says of its model or options; the process was killed.
    """

    def __init__(self, name: str, place: Place, *, cores: Sequence[int], options: Mapping[str, Any]) -> None:
        self.name, self.place, self.cores, self.options = name, place, list(cores), dict(options)
        self._process = _started(len(cores))
        _send(self._process, {"place": place._asdict(), "cores": self.cores, "options": self.options})

    def opened(self) -> dict[str, Any]:
        """Waits until it is ready; what the engine says of itself, and as `refused` which options it has not."""
        said = _answer(self._process, self.name)
        self.options = {name: value for name, value in self.options.items() if name not in said["refused"]}
        return said

    def one_by_one(self, lines: Sequence[str]) -> list[float]:
        """Milliseconds of each line by itself."""
        _send(self._process, {"single": list(lines)})
        return _answer(self._process, self.name)["milliseconds"]

    def together(self, lines: Sequence[str]) -> Batch:
        """All lines in batches."""
        _send(self._process, {"batch": list(lines)})
        return Batch(**_answer(self._process, self.name))

    def timed(self, single: Sequence[str], batch: Sequence[str]) -> Timed:
        """One turn: some lines by themselves, then all lines in batches."""
        return Timed(self.one_by_one(single), len(batch) / self.together(batch).seconds)

    def __enter__(self) -> MeasuredSystem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _ended(self._process)


def load_alone(system: MeasuredSystem, precision: str, lines: Sequence[str]) -> Load:
    """Loads an opened system LOADS times, each time in a new process, which then translates the lines; medians.

    Args:
        precision: that it was found to compute in.

    Raises:
        UserError: as `MeasuredSystem`.
    """
    place = system.place._replace(compute_type=precision)
    first = {"place": place._asdict(), "cores": system.cores, "options": system.options, "alone": list(lines)}
    found = []
    for _ in range(LOADS):
        process = _started(len(system.cores))
        try:
            _send(process, first)
            found.append(_answer(process, system.name))
        finally:
            _ended(process)
    return Load(*(statistics.median(each[key] for each in found) for key in ("load_ms", "peak_mb")))


def _started(cores: int) -> subprocess.Popen[str]:
    # -P: what lies in the folder where the program was started is no module of ours.
    command = [sys.executable, "-P", "-m", "seqdistill.runtime.one_system"]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(cores))}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=environment)


def _send(process: subprocess.Popen[str], request: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended: `_answer` says why
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()


def _answer(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        if code < 0:
            raise UserError(
                f"{name}: its process was ended by {signal.Signals(-code).name}; SIGKILL usually means that memory ran "
                "out: measure fewer models at a time, and run the same command again, it continues"
            )
        raise RuntimeError(f"the process of {name} failed with exit code {code}; its traceback is above")
    answer = json.loads(line)
    if "error" in answer:
        raise UserError(f"{name}: {answer['error']}")
    return answer


def _ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(BrokenPipeError):  # of a request that nobody has read
            stream.close()
