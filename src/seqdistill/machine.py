"""What the last bits of a result depend on besides its record: threads, processor, device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def machine(threads: int = 0) -> dict[str, Any]:
    """Processes that train together, threads of each (0: as many as torch takes), vector instructions, GPU if any."""
    return {
        "processes": processes(),
        "threads": threads or torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processes() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one of them that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


@contextmanager
def threads_kept() -> Iterator[None]:
    """Torch's number of threads is afterwards what it was: CTranslate2 and trainings set it for the whole process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
