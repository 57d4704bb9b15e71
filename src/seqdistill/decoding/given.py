"""What is given for each sentence besides its source; what reads it decides what it means (see `processors`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Given(NamedTuple):
    """What is given for each sentence of a batch besides its source; empty: nothing."""

    seeds: Sequence[int] = ()
    """A number for each, such as its line number, which with `options.seed` decides what sampling draws."""
    prefixes: Sequence[Sequence[int]] = ()
    """Ids each output begins with, without BOS. They count as written: for the lengths, and for repeated n-grams."""
    allowed: Sequence[Sequence[int]] = ()
    """Ids each output may be made of; EOS is always allowed."""

    def of(self, rows: Sequence[int]) -> Given:
        """What is given for these rows."""
        seeds, prefixes, allowed = self
        return Given(
            [seeds[row] for row in rows] if seeds else (),
            [prefixes[row] for row in rows] if prefixes else (),
            [allowed[row] for row in rows] if allowed else (),
        )


NOTHING = Given()
