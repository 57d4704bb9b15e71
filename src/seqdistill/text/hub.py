"""Data sets of the public hub, through the `datasets` library (extra `hub`), imported only here and only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.text.tables import text_at


class HubData(NamedTuple):
    """A data set that lies in the library's cache, memory-mapped."""

    name: str
    splits: Mapping[str, Iterable[Mapping[str, Any]]]

    def columns(self, split: str) -> list[str]:
        """Names of the columns of a split; none where the split is missing or has no rows."""
        return list(next(iter(self.splits.get(split, ())), {}))

    def rows(self, split: str, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Streams columns of a split; they may be nested, as `translation.de`.

        Raises:
            UserError: no such split, it has no rows, or a column is missing or no text.
        """
        if split not in self.splits:
            raise UserError(f"hub:{self.name}: no split {split!r}; there: {', '.join(self.splits)}")
        number = 0
        for number, row in enumerate(self.splits[split], 1):
            where = f"hub:{self.name}, {split}, row {number:,}"
            yield tuple(text_at(row, column, where) for column in columns)
        if number == 0:
            raise UserError(f"hub:{self.name}, {split}: the split has no rows")


def load_hub(
    name: str, *, configuration: str | None = None, revision: str | None = None, cache: Path | None = None
) -> HubData:
    """Downloads a data set, or finds it in the cache.

    Args:
        name: as OWNER/NAME on the hub, or a local folder of JSONL, Parquet or CSV files.
        configuration, revision: as on the hub.
        cache: folder of the cache; the library's own when None.

    Raises:
        UserError: the library is missing, or the data set cannot be had.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"hub:{name} needs the datasets library, which is not installed: pip install 'seqdistill[hub]'"
        ) from None
    folder = None if cache is None else str(cache / "hub")
    try:
        return HubData(name, datasets.load_dataset(name, configuration, revision=revision, cache_dir=folder))
    except Exception as error:  # the library raises of many kinds: own ones, ValueError, OSError, those of its network
        configured = f" ({configuration})" if configuration else ""
        raise UserError(
            f"hub:{name}{configured} could not be loaded: {type(error).__name__}: {error}. Check the name, the "
            "configuration and the network; or give the text as files"
        ) from error
