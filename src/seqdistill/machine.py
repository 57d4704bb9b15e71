"""What the last bits of a result depend on besides its record: threads, processor, device."""

from __future__ import annotations

import os
from typing import Any

import torch


def machine(threads: int = 0) -> dict[str, Any]:
    """Processes that train together, threads of each (0: as many as torch takes), vector instructions, GPU if any."""
    return {
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "threads": threads or torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
