"""Trainings that grow: which schedules allow it, and which checkpoint lies on the way to another end."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

GROWING = ("constant", "inverse-sqrt", "wsd")
"""Schedules whose rates do not depend on `max_updates`, or only from the last `decay` of the updates on."""


class End(NamedTuple):
    """Where a training ends.

    Example: wsd with 100 updates and decay 0.1 is End(100, 90), with 200 End(200, 180). The checkpoint of update 90
    lies on the way to both, that of 91 only to the first: a training of 100 updates grows to 200 from update 90.
    """

    max_updates: int
    stable: int
    """The last update whose weights do not depend on `max_updates`: of wsd the last one before the decay."""


def end_of(schedule: str, max_updates: int, decay: float, *, branch: Path | None = None) -> End:
    """The end that these options set.

    Args:
        decay: share of the updates over which the rate of wsd falls.
        branch: the checkpoint that the decay is branched off, which then begins there.
    """
    if schedule != "wsd":
        return End(max_updates, max_updates)
    return End(max_updates, int(branch.name) if branch else max_updates - max(1, round(decay * max_updates)))


def lies_on_the_way(update: int, *, validated: bool, before: End, now: End) -> bool:
    """Whether a checkpoint of a training that was to end at `before` is one of the training that ends at `now`.

    Args:
        validated: whether the model was scored at this update, as it is at the last one.
    """
    reached = update < now.max_updates or (update == now.max_updates and validated)
    return reached and (before == now or update <= min(before.stable, now.stable))
