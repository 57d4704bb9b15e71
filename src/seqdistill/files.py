"""Files that are complete or absent: written to a temporary name and renamed; hashing, locking, JSON."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from seqdistill.errors import UserError

PART = re.compile(r"\..+\.\d+\.part")
"""Name of what is still being written: .NAME.PID.part, beside NAME."""
_LARGE = 1 << 20
_digests: dict[tuple[int, ...], str] = {}
"""Of large files that were read, by what changes when they do."""


def sha256(data: bytes | str) -> str:
    """Hex digest of bytes, or of text as UTF-8; file names that are not UTF-8 have half surrogate pairs."""
    return hashlib.sha256(data.encode(errors="surrogatepass") if isinstance(data, str) else data).hexdigest()


def plain(path: Path) -> Path:
    """The path, of a file that can be read to its end; of one that is not there, too.

    Raises:
        UserError: a pipe with a name, for whose writer opening it would wait for ever, or a device.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return path
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path}: is no plain file but a pipe or device; put a copy of the file there")
    return path


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes. A process reads a large file once, as long as its size and times stay.

    Raises:
        UserError: as `plain`.
    """
    with plain(Path(path)).open("rb") as file:
        found = os.fstat(file.fileno())
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if key not in _digests:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if found.st_size < _LARGE:  # clocks of file systems are coarse: small files are soon read again
                return digest
            _digests[key] = digest
        return _digests[key]


def sha256_json(value: object) -> str:
    """Hex digest of a JSON-able value, independent of the order of keys."""
    return sha256(json.dumps(value, sort_keys=True, ensure_ascii=False))


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is synced and renamed to `path`, on failure removed.

    A reader of `path` sees the old or the new content, never a part, even after a kill or on a full disk.

    Raises:
        UserError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as only a rename within one file system is atomic; synced before it, or a power cut could
    # leave the new name with a part of the content. After success the last line finds nothing to remove.
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(
                f"{path}: the disk is full ({shutil.disk_usage(path.parent).free:,} bytes free); no file was "
                "overwritten: free some space and run the same command again, it continues"
            ) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Removes what killed processes left half written, in every folder of a directory that this process holds."""
    for path in [path for path in directory.rglob(".*.part") if PART.fullmatch(path.name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically. Half a surrogate pair, of a file name that is not UTF-8, is written as `\\udcff`,
    which JSON reads back."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON atomically.

    Raises:
        UserError: NaN or an infinite number, which JSON cannot hold; says where.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        found = next(_not_finite(value), None)
        if found is None:
            raise
        place, number = found
        raise UserError(
            f"{path}: {place or 'the value'} is {number}, but JSON holds only finite numbers; nothing was written: "
            "check what it was computed from"
        ) from None
    write_text(path, text + "\n")


def _not_finite(value: object, place: str = "") -> Iterator[tuple[str, float]]:
    """Where a number is not finite, as `scores.0.bleu`, and the number."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, Mapping | list | tuple):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _not_finite(part, f"{place}.{key}" if place else str(key))


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: the file is missing or is no JSON; as `plain`.
    """
    try:
        text = plain(Path(path)).read_text(encoding="utf-8-sig")  # editors of Windows put a BOM in front
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); the file was altered or cut: create it again") from None
    return parse_json(text, where=path, remedy="the file was altered or cut: create it again")


def parse_json(text: str | bytes, *, where: Path | str, remedy: str) -> Any:
    """The value of a JSON text.

    Raises:
        UserError: it is no JSON; it has numbers of thousands of digits, or brackets within thousands of others, which
            no program of ours wrote.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{where}: not JSON that can be read (too many brackets within others); {remedy}") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or a number with too many digits
        cause = str(error).partition(";")[0]
        raise UserError(f"{where}: not valid JSON ({cause}); {remedy}") from None


@contextmanager
def utf8_name(path: Path) -> Iterator[str]:
    """A name of a file for libraries that open no path that is not UTF-8: its own, or another."""
    with plain(path).open("rb") as file:
        try:
            str(path).encode()
        except UnicodeEncodeError:  # only on Linux: macOS has no such names
            yield f"/proc/self/fd/{file.fileno()}"
        else:
            yield str(path)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Locks an output directory for this process; the lock ends with the process, even if it is killed.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = _opened_lock(directory / ".lock")
    except OSError as error:
        raise UserError(f"{directory}: cannot be the output directory ({error.strerror}); give another --out") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{directory}: another process is writing here; wait for it, or give another --out"
            ) from None
        yield


def _opened_lock(path: Path) -> IO[bytes]:
    """A file of our own, made if need be; raises UserError for a link, which would make one elsewhere, or a pipe."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise UserError(
                f"{path}: is no plain file, so no lock of seqdistill: remove it, or give another --out"
            ) from None
        raise
    lock = os.fdopen(descriptor, "r+b", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        lock.close()
        raise UserError(f"{path}: is no plain file, so no lock of seqdistill: remove it, or give another --out")
    return lock
