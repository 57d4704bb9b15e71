"""What the last bits of a result depend on besides its record: threads, processor, device."""

from __future__ import annotations

from typing import Any

import torch


def machine(threads: int = 0) -> dict[str, Any]:
    """Threads (0: as many as torch takes), the vector instructions that torch uses, the GPU if there is one."""
    return {
        "threads": threads or torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
