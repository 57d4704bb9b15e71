"""Cores, and how long OpenMP's threads spin while they wait for each other.

The latter is settled before torch or CTranslate2 loads OpenMP.

By default libgomp, which the wheels of both carry, spins 300,000 times at a barrier before it sleeps. On a quiet
machine that saves the kernel's wake-ups. Beside one busy process, which keeps a thread from its core, the others spin
through most of its absence, and what they burn is taken from it in turn: trainings beside other jobs fell to a tenth
of their speed and less (docs/log.md, "Threads"). 1,000 spins take microseconds; `benchmarks/beside.py` compares.
"""

import os

SPINS = "1000"

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
"""Variables by which a user says how threads wait; one that is set settles it."""


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spin_briefly() -> None:
    """Sets GOMP_SPINCOUNT for this process and those it starts, unless the user has chosen.

    Without effect in a process that has imported torch or CTranslate2 before.
    """
    if not any(name in os.environ for name in CHOICES):
        os.environ["GOMP_SPINCOUNT"] = SPINS
