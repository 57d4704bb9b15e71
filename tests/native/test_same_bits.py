"""Every kernel's bits by one number: the same on all sets, also those of other processors, under an emulator."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from seqdistill.native import build, compilers

KERNELS = 6
SOURCES = ("linear", "packed", "attention", "norm", "recurrence", "tests/fingerprint")


def fingerprints(library: ctypes.CDLL) -> list[int]:
    library.sdt_fingerprint.restype = ctypes.c_uint64
    return [library.sdt_fingerprint(kernel) for kernel in range(KERNELS)]


def test_all_sets_give_the_same_bits(kernels: dict[str, ctypes.CDLL]) -> None:
    found = {name: fingerprints(library) for name, library in kernels.items()}
    assert all(numbers == found["portable"] for numbers in found.values()), found
    assert len(set(found["portable"])) == KERNELS and 0 not in found["portable"]


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["dotprod", "portable"])
def test_arm_gives_the_bits_of_this_machine(kernels: dict[str, ctypes.CDLL], instructions: str, tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("needs qemu-aarch64, an emulator")
    compiler = compilers.compiler("linux-aarch64")._replace(target="aarch64-linux-musl")  # which links without a system
    flags = [*compiler.options(instructions), *compilers.FLAGS, "-DSD_PROGRAM", f"-I{build.CPP}"]
    objects = [str(tmp_path / f"{Path(name).name}.o") for name in SOURCES]
    for name, object_ in zip(SOURCES, objects, strict=True):
        source = str(build.CPP / f"{name}.cpp")
        subprocess.run([*compiler.command, *flags, "-c", source, "-o", object_], check=True, timeout=300)
    program = tmp_path / "fingerprint"
    # For any ARM: zig builds the C library once for both sets, which takes longer than all else.
    link = [*compiler.command, "-target", "aarch64-linux-musl", "-static", "-nostdlib++"]
    subprocess.run([*link, *objects, "-o", str(program)], check=True, timeout=900)
    shown = subprocess.run([emulator, str(program)], check=True, capture_output=True, text=True, timeout=600).stdout
    assert [int(line, 16) for line in shown.split()] == fingerprints(kernels["portable"])
