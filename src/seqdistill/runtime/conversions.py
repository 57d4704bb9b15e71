"""Conversions kept in the cache: made once a model, checked before CTranslate2 reads them, made again when damaged."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import ctranslate2

from seqdistill.errors import UserError
from seqdistill.models.saved import LoadedModel
from seqdistill.runtime.conversion import LISTING, convert
from seqdistill.seals import check_listing, read_sealed

FOLDER = "ctranslate2"
"""Of the cache; what is in it may be deleted at any time when nothing runs."""


@contextmanager
def converted(loaded: LoadedModel, cache: Path) -> Iterator[Path]:
    """A folder with the conversion of a model, which nobody replaces before the context ends.

    It lies in the cache under the model's fingerprint; where the cache cannot be written, in a temporary folder.

    Raises:
        UserError: as `convert`.
    """
    folder = cache / FOLDER / f"{loaded.fingerprint[:32]}-{ctranslate2.__version__}"
    try:
        str(folder).encode()  # CTranslate2 opens no path that is not UTF-8
        lock = _made(loaded, folder)
    except (OSError, UnicodeEncodeError):
        with tempfile.TemporaryDirectory(prefix="seqdistill-") as beside:
            convert(loaded, Path(beside) / folder.name)
            yield Path(beside) / folder.name
        return
    with lock:
        yield folder


def _made(loaded: LoadedModel, folder: Path) -> IO[bytes]:
    """Makes the folder unless it is there and whole. Returns the lock, held together with others that read it."""
    # One process at a time looks, and makes or mends; whoever waits finds it whole. From then on all hold the lock
    # together, and nobody can begin to mend. Closing the file, or dying, lets go of it.
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole(folder):
            for left in (folder, *folder.parent.glob(f".{folder.name}.*.part")):
                shutil.rmtree(left, ignore_errors=True)
            convert(loaded, folder)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except BaseException:
        lock.close()
        raise
    return lock


def is_whole(folder: Path) -> bool:
    """Whether a conversion is there, to the last bit as it was written."""
    try:
        check_listing(folder, read_sealed(folder / LISTING, remedy=""), remedy="")
    except UserError:
        return False
    return True
