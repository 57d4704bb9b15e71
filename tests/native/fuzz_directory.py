"""A program: opens and runs an exported directory that was altered and sealed anew, many times: DIRECTORY SEED TIMES.

As somebody who means harm would: every hash fits. What opens may write nonsense. Prints how many ran and were refused.
Weights lie on the heap instead of in a mapped file, so that the sanitizers see who reads beyond them.
"""

from __future__ import annotations

import ctypes
import functools
import json
import mmap
import os
import random
import sys
from copy import copy
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.exported import DESCRIPTION
from seqdistill.native import directory, library
from seqdistill.native.search import Search
from seqdistill.native.student import Student
from seqdistill.seals import listing, write_sealed

VALUES: tuple[Any, ...] = (0, -1, 1, 2, 3, 63, 64, 65, 2**31 - 1, 2**31, -(2**31), 2**63, 0.5, 1e300, "", "sru", True)
VALUES += (None, [], {}, "hybrid\nprecision=float32", "int8\ntarget_vocab=9", "a\0b", "\ud800")
NUMBERS = (0, 1, -1, 63, 64, 65, 1 << 15, 1 << 30, (1 << 31) - 1, -(1 << 31))


class Heap:
    """What `native.directory` calls of `mmap`."""

    ACCESS_COPY = mmap.ACCESS_COPY

    @staticmethod
    def mmap(file: int, _: int, access: int) -> memoryview:
        """The file in memory whose end is less than 64 bytes after the file's, at a multiple of 64."""
        data = os.pread(file, os.fstat(file).st_size, 0)
        if not data:
            raise ValueError("empty")
        room = bytearray(len(data) + 63)
        start = -ctypes.addressof(ctypes.c_char.from_buffer(room)) % 64
        room[start : start + len(data)] = data
        return memoryview(room)[start : start + len(data)]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to each value of a description, lists and objects included."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, child in children for place in places(child, (*path, key))]


def redescribe(draw: random.Random, found: dict[str, Any]) -> None:
    """Changes a value or two: numbers by a little, others mostly to some of the same type."""
    for _ in range(draw.randint(1, 2)):
        part = draw.choice(("config", "tensors", None))
        path = draw.choice([place for place in places(found) if place[0] == part or part is None])
        if path[0] in ("files", "seqdistill"):
            continue
        inner = found
        for key in path[:-1]:
            inner = inner[key]
        before = inner[path[-1]]
        if type(before) is int and draw.random() < 0.5:
            inner[path[-1]] += draw.choice((-1, 1, 64, -64))
        else:
            alike = [value for value in VALUES if type(value) is type(before)]
            inner[path[-1]] = copy(draw.choice(alike if alike and draw.random() < 0.8 else VALUES))
    if draw.random() < 0.2 and isinstance(found["config"], dict):
        found["config"][draw.choice(("precision", "family", "eos", "a\nprecision"))] = copy(draw.choice(VALUES))


def altered(draw: random.Random, content: bytes) -> bytes:
    """A cut file, or one with some other bytes or whole numbers; rarely a sound one."""
    found = bytearray(content)
    if draw.random() < 0.1:
        return bytes(found[: draw.randrange(len(found))])
    for _ in range(draw.choice((0, 1, 1, 3, 30, 300))):
        place = draw.randrange(len(found) // 4) * 4
        if draw.random() < 0.5:
            found[place] = draw.randrange(256)
        else:
            found[place : place + 4] = draw.choice(NUMBERS).to_bytes(4, "little", signed=True)
    return bytes(found)


def seal(folder: Path, found: dict[str, Any]) -> None:
    """Writes a description with its seal; one that UTF-8 cannot write has none."""
    try:
        write_sealed(folder / DESCRIPTION, found)
    except UnicodeEncodeError:
        (folder / DESCRIPTION).write_text(json.dumps({**found, "seal": "0" * 64}))


def main(folder: Path, seed: int, times: int) -> None:
    """Alters, opens, decodes."""
    directory.mmap = Heap  # type: ignore[attr-defined]
    if "SEQDISTILL_SANITIZED" in os.environ:
        library.engine = functools.partial(library.engine, None, library.LIB / "sanitized")  # type: ignore[assignment]
    whole = json.loads((folder / DESCRIPTION).read_text())
    whole.pop("seal")
    binaries = {name: (folder / name).read_bytes() for name in whole["files"] if name.endswith(".bin")}
    draw, ran, refused = random.Random(seed), 0, 0
    for _ in range(times):
        found = json.loads(json.dumps(whole))
        name = draw.choice(list(binaries))
        of_file = draw.random() < 0.5
        (folder / name).write_bytes(altered(draw, binaries[name]) if of_file else binaries[name])
        found["files"] |= listing(folder, [name])
        if not of_file or draw.random() < 0.2:
            redescribe(draw, found)
        seal(folder, found)
        try:
            student = Student(folder, threads=1)
            search = Search(beam=draw.choice((1, 1, 2)), max_length=draw.choice((1, 5)))
            student.decode_ids([[7, 8, 9], [5]], search, scores=draw.random() < 0.5)
            ran += 1
        except (UserError, MemoryError):
            refused += 1
        (folder / name).write_bytes(binaries[name])
    sys.stdout.write(f"{ran} {refused}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
