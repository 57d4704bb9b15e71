"""What the last bits of a result depend on besides its record: threads, processor, device."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


INSTRUCTIONS = {
    **dict.fromkeys(("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"), "flags"),
    **dict.fromkeys(("asimd", "asimddp", "i8mm", "bf16", "sve"), "Features"),
}
"""Vector instructions that decide how fast models are, and the line of /proc/cpuinfo that names them."""


def processor() -> dict[str, Any]:
    """The processor's name and its vector instructions, as far as the system tells them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    there = [name for name, line in INSTRUCTIONS.items() if name in found.get(line, "").split()]
    return {"cpu": found.get("model name") or platform.processor() or platform.machine(), "instructions": there}


def processes() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one of them that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def threads_kept() -> Iterator[None]:
    """Torch's number of threads is afterwards what it was: CTranslate2 and trainings set it for the whole process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
