"""Runs of a recipe on a disk that is too small: one line that says so; with more space, the same bytes.

The disk is a tmpfs, mounted in name spaces of this process alone, which needs no rights on most Linux systems.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
from pathlib import Path

from benchmarks.robust.kills import RUN_SECONDS, undisturbed
from benchmarks.robust.process import run, wait
from benchmarks.robust.recipe import contents
from seqdistill.errors import UserError

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER, _NEW_MOUNTS, _REMOUNT = 0x10000000, 0x00020000, 32
LEAST = 64 << 10
LARGE = 1 << 30
"""Bytes that are enough."""


def full_disks(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Fills a disk `count` times, each of another size.

    Returns:
        How many disks were filled, how many runs said so in other words than one message and exit code 2, and how many
        that were continued ended with other bytes.

    Raises:
        UserError: this system lets nobody mount a disk.
    """
    before, text = undisturbed(folder)
    whole = sum(path.stat().st_size for path in (text / "whole").rglob("*") if path.is_file())
    draw = random.Random(f"{seed} disks")
    faults = {"full_disks": 0, "full_disks_unclean": 0, "full_disks_differing": 0}
    for _ in range(count):
        size = draw.randint(LEAST, max(LEAST, int(0.9 * whole)))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _filled(text, size, before)
            finally:
                os._exit(code)
        code = wait(child, 2 * RUN_SECONDS)
        if code not in (0, 3, 4):
            raise UserError(
                f"a disk of {size:,} bytes could not be tried (exit code {code}): may tmpfs be mounted here?"
            )
        faults["full_disks"] += 1
        faults["full_disks_unclean"] += code == 3
        faults["full_disks_differing"] += code == 4
    return faults


def _filled(text: Path, size: int, before: dict[str, str]) -> int:
    """In a process of its own: 0, 3 for unclean, 4 for other bytes."""
    os.setsid()
    disk = text / "disk"
    shutil.rmtree(disk, ignore_errors=True)
    disk.mkdir()
    _own_mounts()
    _mount(disk, size, 0)
    words = ["run", "every-kind.toml", "--out", "disk/run"]
    ended = run(words, text, limit=RUN_SECONDS)
    if (
        ended.code != 2
        or ended.err.count("error: ") != 1
        or "disk is full" not in ended.err
        or "Traceback" in ended.err
    ):
        os.write(2, f"a disk of {size:,} bytes: exit code {ended.code}: {ended.err[-2000:]}\n".encode())
        return 3
    _mount(disk, LARGE, _REMOUNT)
    ended = run(words, text, limit=RUN_SECONDS)
    same = ended.code == 0 and contents(disk / "run") == before
    if not same:
        os.write(2, f"a disk of {size:,} bytes, continued: exit code {ended.code}: {ended.err[-2000:]}\n".encode())
    return 0 if same else 4


def _own_mounts() -> None:
    """What this process mounts from here on, nobody else sees."""
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _mount(directory: Path, size: int, flags: int) -> None:
    if _LIBC.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", flags, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
