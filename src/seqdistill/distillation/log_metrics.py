"""Means of what happens during training, collected between two rows of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

POSITIONS = (1, 5, 9, 17, 33)
"""Positions in the output are counted from 1; each group begins at one of these and ends before the next."""


class LogMetrics:
    """Sums and counts by name; `take` gives the means and starts again."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, float]] = {}
        self._seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def add(self, name: str, total: Tensor | float | int, count: float | int) -> None:
        """Adds to a mean; a tensor is not waited for until `take`."""
        if count:
            earlier, number = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (earlier + total, number + count)

    def add_by_position(self, name: str, values: Float[Tensor, "batch target"], mask: Tensor) -> None:
        """Adds a value of every real position to the mean of its group of positions."""
        for start, end in zip(POSITIONS, (*POSITIONS[1:], None), strict=True):
            # Positions count from 1, columns from 0; the last group has no end.
            columns = slice(start - 1, None if end is None else end - 1)
            if columns.start < values.shape[1]:
                total, count = (values * mask)[:, columns].sum(), float(mask[:, columns].sum())
                self.add(f"{name}_from_{start}", total.detach(), count)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the time inside to that of `name`."""
        began = time.monotonic()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def sums(self) -> dict[str, list[float]]:
        """What the means of the next row of the log are made of so far, for a checkpoint; times are not kept."""
        return {name: [float(total), count] for name, (total, count) in self._sums.items()}

    def restore(self, sums: Mapping[str, Sequence[float]]) -> None:
        """Goes on from such sums: the next row is that of a training that was not cut off."""
        self._sums = {name: (total, count) for name, (total, count) in sums.items()}

    def take(self) -> dict[str, float]:
        """The means, and the share of the time since the last call that each timed part took; then forgets them."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        # `float` waits for the device, so once for each row of the log.
        means = {name: float(total) / count for name, (total, count) in self._sums.items()}
        shares = {f"{name}_time_share": seconds / elapsed for name, seconds in self._seconds.items()}
        self._sums, self._seconds, self._began = {}, {}, time.monotonic()
        return means | shares


def spread(values: Float[Tensor, " labels"], mask: Tensor) -> Float[Tensor, "batch target"]:
    """Puts values of real positions, row by row, back into their places."""
    places = values.new_zeros(mask.shape)
    return torch.masked_scatter(places, mask, values)
