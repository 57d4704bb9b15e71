"""Data sets of the public hub, through the `datasets` library (extra `hub`), imported only here and only when asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.text.tables import text_at


def hub_pairs(
    name: str,
    *,
    split: str,
    columns: tuple[str, str],
    configuration: str | None = None,
    revision: str | None = None,
    cache: Path | None = None,
) -> Iterator[tuple[str, str]]:
    """Streams two columns of a split; they may be nested, as `translation.de`.

    Raises:
        UserError: the library is missing, the data set cannot be had, or a column is missing or no text.
    """
    rows = _load(name, split, configuration, revision, cache)
    for number, row in enumerate(rows, 1):
        where = f"hub:{name}, {split}, row {number:,}"
        yield text_at(row, columns[0], where), text_at(row, columns[1], where)


def _load(name: str, split: str, configuration: str | None, revision: str | None, cache: Path | None) -> Any:
    """The rows of one split, memory-mapped by the library."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"hub:{name} needs the datasets library, which is not installed: pip install 'seqdistill[hub]'"
        ) from None
    folder = None if cache is None else str(cache / "hub")
    try:
        return datasets.load_dataset(name, configuration, split=split, revision=revision, cache_dir=folder)
    except Exception as error:  # the library raises of many kinds: own ones, ValueError, OSError, those of its network
        configured = f" ({configuration})" if configuration else ""
        raise UserError(
            f"hub:{name}{configured}, split {split!r} could not be loaded: {type(error).__name__}: {error}. Check the "
            "name, the split and the network; or give the text as files"
        ) from error
