"""Cores, and how long OpenMP's threads spin while they wait for each other.

The latter is settled before torch or CTranslate2 loads OpenMP.

By default libgomp, which the wheels of both carry, spins 300,000 times at a barrier before it sleeps. On a quiet
machine that saves the kernel's wake-ups. Beside one busy process, which keeps a thread from its core, the others spin
through most of its absence, and what they burn is taken from it in turn: trainings beside other jobs fell to a tenth
of their speed and less (docs/log.md, "Threads"). 1,000 spins take microseconds; `benchmarks/beside.py` compares.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

SPINS = "1000"

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
"""Variables by which a user says how threads wait; one that is set settles it."""


def core_numbers() -> list[int]:
    """The cores that this process may run on; of a system that does not tell, such as macOS, all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many they are."""
    return len(core_numbers())


def keep_to(cores: Sequence[int]) -> None:
    """Binds this process, and the threads it starts from now on, to some cores; macOS binds none."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def spin_briefly() -> None:
    """Sets GOMP_SPINCOUNT for this process and those it starts, unless the user has chosen.

    Without effect in a process that has imported torch or CTranslate2 before.
    """
    if not any(name in os.environ for name in CHOICES):
        os.environ["GOMP_SPINCOUNT"] = SPINS
