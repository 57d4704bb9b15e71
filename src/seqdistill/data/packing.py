"""How sentence pairs are put in order and cut into batches that hold little padding."""

from __future__ import annotations

import numpy as np

_LONGEST = (1 << 14) - 1
"""Longer sentences count as this long when they are ordered."""


def by_length(source: np.ndarray, target: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Rows ordered by the longer side, which is what fills a batch; then by source minus target (rising and falling by
    turns, so that neighbours stay alike where the length changes); then as in `ties`, a permutation of the rows.

    On Multi30k at 4,096 tokens 3.1 % of the cells are padding; ordering by target and then source gives 4.7 %, by the
    longer side alone 6.8 %, by target alone 20 %. Two stable sorts of 16-bit keys, which NumPy does in linear time.

    Longer side 3 with a falling excess of source over target, then 4 with a rising one: 2 and -2 meet their likes.

        >>> source, target = np.array([1, 3, 4, 3, 2]), np.array([3, 1, 2, 3, 4])
        >>> order = by_length(source, target, np.arange(5))
        >>> list(zip(source[order].tolist(), target[order].tolist(), strict=True))
        [(3, 1), (3, 3), (1, 3), (2, 4), (4, 2)]
    """
    # A stable sort by the last key, then one by the first, sorts by both; `ties` is the order to begin with.
    source, target = (np.minimum(lengths, _LONGEST).astype(np.int16) for lengths in (source, target))
    longer, excess = np.maximum(source, target), source - target
    order = ties[np.argsort(np.where(longer % 2 == 0, excess, -excess)[ties], kind="stable")]
    return order[np.argsort(longer[order], kind="stable")]


def cut(longest: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts rows into runs of rows x (longest of the run) <= max_tokens, greedily; at least one row each.

    With 12 tokens, two rows of 3 can be joined by one of 4 (3 x 4), not by two (4 x 4):

        >>> starts, ends = cut(np.array([3, 3, 4, 4, 4]), 12)
        >>> starts.tolist(), ends.tolist()
        ([0, 3], [3, 5])
    """
    # Rows come in runs of equal length, few even among millions: the loop is over runs, each cut whole as far as full
    # batches go. Only where a batch reaches into longer rows is it measured row by row.
    changes = (np.flatnonzero(np.diff(longest)) + 1).tolist()
    starts, start = [], 0
    for equal_until in [*changes, len(longest)]:
        if start >= equal_until:
            continue
        size = max(1, max_tokens // int(longest[start]))
        end = start + (equal_until - start) // size * size
        starts.extend(range(start, end, size))
        start = end
        if start < equal_until:  # a batch that reaches into longer rows
            starts.append(start)
            window = np.maximum.accumulate(longest[start : start + size])
            fits = window.astype(np.int64) * np.arange(1, len(window) + 1) <= max_tokens
            start += len(window) if fits.all() else int(fits.argmin())
    bounds = np.array([*starts, len(longest)], dtype=np.int64)
    return bounds[:-1], bounds[1:]
