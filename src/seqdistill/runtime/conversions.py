"""Models converted for an engine, kept in the cache: made once, checked before they are read, mended when damaged."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import ctranslate2

from seqdistill.errors import UserError
from seqdistill.models.saved import LoadedModel
from seqdistill.runtime.conversion import convert
from seqdistill.runtime.converted import FORMAT, open_converted

FOLDER = "ctranslate2"
"""Of the cache; what is in it may be deleted at any time when nothing runs."""


@contextmanager
def converted(loaded: LoadedModel, cache: Path, *, precision: str = "float32") -> Iterator[Path]:
    """A folder with the conversion of a model for CTranslate2, as `kept`; precision as `convert`."""
    name = f"{loaded.fingerprint[:32]}-{precision}-{ctranslate2.__version__}-{FORMAT}"
    with kept(cache / FOLDER / name, lambda folder: convert(loaded, folder, precision=precision), is_whole) as folder:
        yield folder


@contextmanager
def kept(folder: Path, make: Callable[[Path], None], whole: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder that `make` wrote, now or earlier, which nobody replaces before the context ends.

    It is a temporary one where this one cannot be written.

    Raises:
        UserError: as `make`.
    """
    try:
        str(folder).encode()  # CTranslate2 opens no path that is not UTF-8
        lock = _made(folder, make, whole)
    except (OSError, UnicodeEncodeError):
        with tempfile.TemporaryDirectory(prefix="seqdistill-") as beside:
            make(Path(beside) / folder.name)
            yield Path(beside) / folder.name
        return
    with lock:
        yield folder


def _made(folder: Path, make: Callable[[Path], None], whole: Callable[[Path], bool]) -> IO[bytes]:
    """Makes the folder unless it is there and whole. Returns the lock, held together with others that read it."""
    # Whoever finds it whole holds the lock together with others, and nobody can begin to mend. Otherwise one process at
    # a time looks again, and makes or mends; whoever waits finds it whole. Closing the file, or dying, lets go of it.
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not whole(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole(folder):
                for left in (folder, *folder.parent.glob(f".{folder.name}.*.part")):
                    shutil.rmtree(left, ignore_errors=True)
                make(folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
    except BaseException:
        lock.close()
        raise
    return lock


def is_whole(folder: Path) -> bool:
    """Whether a conversion is there, to the last bit as it was written."""
    try:
        open_converted(folder)
    except UserError:
        return False
    return True
