"""Which compiler builds the engine, and what of it: instruction sets, systems, and the options that name them.

Only the standard library is imported here, as installing runs this file before anything else of ours is there.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError, nearest


class InstructionSet(NamedTuple):
    """How a compiler is told of it, and how it shows that it knows it."""

    gcc: str
    """Options of g++ and clang. Extensions one by one, as -march=x86-64-v3 is known from g++ 11 on only."""
    zig: str
    """zig's name of the processor."""
    instruction: str = ""
    """One that makes the set; an assembler may be older than its compiler."""


_AVX2 = "-march=x86-64 -mavx2 -mbmi -mbmi2 -mf16c -mfma -mlzcnt -mmovbe"  # x86-64-v3
_AVX512 = f"{_AVX2} -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl -mprefer-vector-width=512"  # x86-64-v4
SETS = {
    "x86_64": {
        "avx512vnni": InstructionSet(f"{_AVX512} -mavx512vnni", "x86_64_v4+avx512vnni", "vpdpbusd %zmm0, %zmm1, %zmm2"),
        "avxvnni": InstructionSet(f"{_AVX2} -mavxvnni", "x86_64_v3+avxvnni", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2"),
        "avx2": InstructionSet(_AVX2, "x86_64_v3", "vpmaddubsw %ymm0, %ymm1, %ymm2"),
        "portable": InstructionSet("-march=x86-64", "x86_64"),
    },
    "aarch64": {
        "dotprod": InstructionSet("-march=armv8.2-a+dotprod", "generic+v8_2a+dotprod", "sdot v0.4s, v1.16b, v2.16b"),
        "portable": InstructionSet("-march=armv8-a", "generic"),
    },
}
"""The best first. A processor that is not here has "portable" alone."""
TARGETS = {
    "linux-x86_64": "x86_64-linux-gnu.2.17",
    "linux-aarch64": "aarch64-linux-gnu.2.17",
    "macos-arm64": "aarch64-macos.11.0",
}
"""Systems that can be built for from anywhere, and what zig calls them."""

# -ffp-contract=off: a fused multiply-add would round differently where there is one. Nothing here changes results.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)
PROBE = """\
#include <math.h>
#include <stdlib.h>
int probe(int x) {
  if constexpr (sizeof x > 1) return abs(x);  // C++17
  return 0;
}
asm("%s");
"""


class Compiler(NamedTuple):
    """A command that compiles C++, and what it compiles for."""

    command: tuple[str, ...]
    zig: bool
    machine: str
    """Processor family: a key of SETS, or another."""
    target: str | None = None
    """For zig alone: another system."""

    def options(self, instructions: str) -> list[str]:
        """Of compiling for a set."""
        found = SETS.get(self.machine, {}).get(instructions)
        if self.zig:
            system = ["-target", self.target] if self.target else []
            return [*system, *([f"-mcpu={found.zig}"] if found else []), "-fno-sanitize=undefined"]
        return found.gcc.split() if found else []

    def refusal(self, instructions: str) -> str | None:
        """What it says against a set, in a line; None where it compiles for it."""
        return None if self.zig else _refusal(self, instructions)


@functools.cache
def _refusal(compiler: Compiler, instructions: str) -> str | None:
    found = SETS.get(compiler.machine, {}).get(instructions)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(PROBE % (found.instruction if found else ""))
        command = [*compiler.command, *compiler.options(instructions), *FLAGS]
        try:
            done = subprocess.run(
                [*command, "-c", str(source), "-o", str(source.with_suffix(".o"))],
                capture_output=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            return error.strerror
    if not done.returncode:
        return None
    said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
    return f"exit code {done.returncode}{': ' if said else ''}{said[0].strip() if said else ''}"


def machine() -> str:
    """Family of this processor, as SETS calls it."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def sets_of(machine: str) -> list[str]:
    """The instruction sets that are built for a family of processors, the best first."""
    return list(SETS.get(machine, {"portable": None}))


def left_out(compiler: Compiler) -> dict[str, str]:
    """The instruction sets that it does not compile for, and what it says of each."""
    said = {name: compiler.refusal(name) for name in sets_of(compiler.machine)}
    return {name: why for name, why in said.items() if why is not None}


def compiler(target: str | None = None) -> Compiler:
    """$CXX, g++, clang++ or c++, the first that compiles C++17, else the `ziglang` wheel; for another `target` that.

    Raises:
        UserError: there is none; says what was found, and what to install.
    """
    if target is not None and target not in TARGETS:
        raise UserError(f"--target {target}: no such system; {nearest(target, TARGETS)}")
    refused: list[str] = []
    if target is None:
        own = _own_compiler(refused)
        if own is not None:
            return own
    if find_spec("ziglang") is None:
        raise UserError(
            f"no C++ compiler for the compiled engine: {'; '.join(refused) or f'--target {target} needs zig'}, and no "
            "ziglang, a compiler as a Python package; run `pip install ziglang` and then `python -m "
            "seqdistill.native.build`"
        )
    zig = (sys.executable, "-m", "ziglang", "c++")
    if target is None:
        return Compiler(zig, zig=True, machine=machine(), target=_own_target())
    return Compiler(zig, zig=True, machine=TARGETS[target].partition("-")[0], target=TARGETS[target])


def _own_compiler(refused: list[str]) -> Compiler | None:
    """A compiler of this system; why it is none of them goes to `refused`."""
    named = os.environ.get("CXX", "").split()
    for command in [named] if named else [["g++"], ["clang++"], ["c++"]]:
        if not shutil.which(command[0]):
            continue
        found = Compiler(tuple(command), zig="zig" in Path(command[0]).name, machine=machine())
        said = found.refusal("portable")
        if said is None:
            return found
        refused.append(f"{' '.join(command)} does not compile C++17 ({said})")
    if not refused:
        refused.append(f"$CXX is {' '.join(named)}, which is not there" if named else "found no g++, clang++ or c++")
    return None


def _own_target() -> str | None:
    # Named, so that zig asks for the C library of 2014 rather than this machine's own, as for wheels.
    return next(
        (zig for zig in TARGETS.values() if zig.startswith(f"{machine()}-{sys.platform.replace('darwin', 'macos')}")),
        None,
    )
