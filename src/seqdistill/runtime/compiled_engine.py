"""A trained model in the compiled engine: exported into the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast, get_args

from seqdistill.errors import UserError, nearest
from seqdistill.models.saved import LoadedModel
from seqdistill.native.directory import FORMAT, open_exported
from seqdistill.native.student import Student
from seqdistill.runtime.conversions import kept
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.runtime.exporting.packing import Precision
from seqdistill.runtime.exporting.writing import ENGINE, write_exported
from seqdistill.text.sources import default_cache


def compiled_engine(
    loaded: LoadedModel, *, cache: Path | None = None, compute_type: str = "auto", workers: int = 0
) -> CompiledEngine:
    """Exports a trained model, unless the cache has it, and runs it.

    Args:
        cache: `default_cache()` when None.
        compute_type: a Precision, or "auto": int8, whose outputs hardly differ.
        workers: threads; 0: one for each core.

    Raises:
        UserError: the engine does not run the model's family, has no such precision, or is not built here.
    """
    with kept_export(loaded, cache=cache, compute_type=compute_type) as directory:
        return CompiledEngine(Student(directory, threads=workers))


@contextmanager
def kept_export(loaded: LoadedModel, *, cache: Path | None = None, compute_type: str = "auto") -> Iterator[Path]:
    """The directory of a trained model's export in the cache, as `conversions.kept`; arguments as `compiled_engine`.

    Raises:
        UserError: the engine does not run the model's family, or has no such precision.
    """
    precision = "int8" if compute_type == "auto" else compute_type
    if precision not in (valid := get_args(Precision)):
        raise UserError(
            f"compute type {compute_type!r} is none of the compiled engine's; {nearest(compute_type, valid)}"
        )
    folder = (cache or default_cache()) / ENGINE / f"{loaded.fingerprint[:32]}-{precision}-{FORMAT}"

    def make(directory: Path) -> None:
        write_exported(loaded, directory, precision=cast(Precision, precision))

    with kept(folder, make, _is_whole) as directory:
        yield directory


def _is_whole(directory: Path) -> bool:
    try:
        open_exported(directory)
    except UserError:
        return False
    return True
