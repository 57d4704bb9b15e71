"""Pairs of text and their ids, as the columns of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from seqdistill.vocabulary.vocabularies import Vocabularies


class Encoded(NamedTuple):
    """Columns, a row a pair."""

    sources: list[str]
    targets: list[str]
    source_ids: list[list[int]]
    target_ids: list[list[int]]


def encode(pairs: Sequence[tuple[str, str]], tokenizers: Vocabularies, *, drop_empty: bool) -> Encoded:
    """Encodes both sides; `drop_empty` leaves out pairs with a side of no token."""
    sources, targets = (list(side) for side in zip(*pairs, strict=True))
    ids = tokenizers.source.encode_batch(sources), tokenizers.target.encode_batch(targets)
    encoded = Encoded(sources, targets, *ids)
    if not drop_empty or (all(encoded.source_ids) and all(encoded.target_ids)):
        return encoded
    kept = [at for at, (source, target) in enumerate(zip(*ids, strict=True)) if source and target]
    columns: Any = ([column[at] for at in kept] for column in encoded)
    return Encoded(*columns)
