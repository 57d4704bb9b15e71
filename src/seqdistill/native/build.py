"""Compiles the engine of `cpp/` into `lib/`: one shared library for each instruction set, with any C++17 compiler.

The whole engine is compiled once per set, so that no function of one set can be linked into another. Nothing of the C++
standard library is used. Where there is no compiler the wheel `ziglang` is one, also for other systems:

    python -m seqdistill.native.build [--target linux-aarch64] [--out DIR] [--strict]

Only the standard library is imported here, as installing runs this file before anything else of ours is there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.native.library import CPP, LIB, digest_of_sources


class InstructionSet(NamedTuple):
    """How a compiler is told of it: `gcc` for g++ and clang, `zig` is zig's name of the processor."""

    gcc: str
    zig: str


SETS = {
    "x86_64": {
        "avx512vnni": InstructionSet("-march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512", "x86_64_v4+avx512vnni"),
        "avxvnni": InstructionSet("-march=x86-64-v3 -mavxvnni", "x86_64_v3+avxvnni"),
        "avx2": InstructionSet("-march=x86-64-v3", "x86_64_v3"),
        "portable": InstructionSet("-march=x86-64", "x86_64"),
    },
    "aarch64": {
        "dotprod": InstructionSet("-march=armv8.2-a+dotprod", "generic+v8_2a+dotprod"),
        "portable": InstructionSet("-march=armv8-a", "generic"),
    },
}
"""The best first. A processor that is not here has "portable" alone."""

KERNELS = ("attention", "linear", "norm", "packed", "processor", "recurrence")
"""Sources that the kernels' tests need: the rest of the engine takes several times as long to compile."""

TARGETS = {
    "linux-x86_64": "x86_64-linux-gnu.2.17",
    "linux-aarch64": "aarch64-linux-gnu.2.17",
    "macos-arm64": "aarch64-macos.11.0",
}
"""Systems that can be built for from anywhere, and what zig calls them."""

# -ffp-contract=off: a fused multiply-add would round differently where there is one. Nothing here changes results.
FLAGS = [
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
]
SANITIZED = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


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


def machine() -> str:
    """Family of this processor, as SETS calls it."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def sets_of(machine: str) -> list[str]:
    """The instruction sets that are built for a family of processors, the best first."""
    return list(SETS.get(machine, {"portable": None}))


def compiler(target: str | None = None) -> Compiler:
    """$CXX, g++, clang++ or c++, whichever is found first, else the `ziglang` wheel; for another `target` always that.

    Raises:
        UserError: there is none; says what to install.
    """
    if target is not None and target not in TARGETS:
        raise UserError(f"--target {target}: no such system; {nearest(target, TARGETS)}")
    named = os.environ.get("CXX", "").split()
    for command in [named] if named else [["g++"], ["clang++"], ["c++"]]:
        if target is None and shutil.which(command[0]):
            return Compiler(tuple(command), zig="zig" in Path(command[0]).name, machine=machine())
    if find_spec("ziglang") is None:
        found = f"$CXX is {' '.join(named)}, which is not there" if named else "found no g++, clang++ or c++"
        raise UserError(
            f"no C++ compiler for the compiled engine: {found}, and no ziglang, a compiler as a Python package; run "
            "`pip install ziglang` and then `python -m seqdistill.native.build`"
        )
    zig = (sys.executable, "-m", "ziglang", "c++")
    if target is None:
        return Compiler(zig, zig=True, machine=machine(), target=_own_target())
    return Compiler(zig, zig=True, machine=TARGETS[target].partition("-")[0], target=TARGETS[target])


def _own_target() -> str | None:
    # Named, so that zig asks for the C library of 2014 rather than this machine's own, as for wheels.
    return next(
        (zig for zig in TARGETS.values() if zig.startswith(f"{machine()}-{sys.platform.replace('darwin', 'macos')}")),
        None,
    )


def build(
    out: Path = LIB,
    *,
    target: str | None = None,
    sets: Sequence[str] | None = None,
    strict: bool = False,
    sanitized: bool = False,
    tests: bool = False,
    more: Sequence[str] = (),
) -> dict[str, Path]:
    """Builds what is missing or older than its sources; the libraries by instruction set, the best first.

    Args:
        out: folder of the libraries; objects of single sources stay in its `objects/`.
        target: another system, a key of TARGETS.
        sets: some instruction sets only.
        strict: warnings are errors.
        sanitized: with the address and undefined-behaviour sanitizers; into a folder of its own.
        tests: builds tests-SET.so instead, the kernels alone with entry points for tests.
        more: further options of the compiler; into a folder of its own.

    Raises:
        UserError: no compiler, or it failed; says how.
    """
    with_ = compiler(target)
    flags = [*FLAGS, *(["-Werror"] if strict else []), *(SANITIZED if sanitized else []), *more]
    engine = sorted(CPP.glob("*.cpp"))
    kernels = [*(CPP / f"{name}.cpp" for name in KERNELS), *sorted((CPP / "tests").glob("*.cpp"))]
    sources = kernels if tests else engine
    with _alone(out), ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            name: [pool.submit(_compiled, with_, flags, name, source, out) for source in sources]
            for name in sets or sets_of(with_.machine)
        }
        objects = {name: [job.result() for job in compiled] for name, compiled in jobs.items()}
        prefix = "tests" if tests else "kernels"
        return {name: _linked(with_, flags, objects[name], out / f"{prefix}-{name}.so") for name in objects}


def _compiled(with_: Compiler, flags: Sequence[str], instructions: str, source: Path, out: Path) -> Path:
    """The object of a source, named by all that it depends on: one that is there is up to date."""
    command = [*with_.command, *with_.options(instructions), *flags, f"-DSD_INSTRUCTIONS={instructions}", f"-I{CPP}"]
    if source.name == "api.cpp":
        command.append(f"-DSD_SOURCES={digest_of_sources()}")
    digest = hashlib.sha256("\0".join(command).encode())
    for path in [source, *sorted(CPP.glob("*.h"))]:
        digest.update(path.read_bytes())
    object_ = out / "objects" / f"{source.stem}-{instructions}-{digest.hexdigest()[:16]}.o"
    if not object_.exists():
        for older in object_.parent.glob(f"{source.stem}-{instructions}-{'?' * 16}.o"):
            older.unlink()
        _run([*command, "-c", str(source), "-o"], object_)
    return object_


def _linked(with_: Compiler, flags: Sequence[str], objects: Sequence[Path], library: Path) -> Path:
    newest = max(path.stat().st_mtime_ns for path in objects)
    made_from = library.parent / "objects" / f"{library.name}.txt"
    names = "\n".join(path.name for path in objects)
    if (
        library.exists()
        and library.stat().st_mtime_ns >= newest
        and made_from.exists()
        and made_from.read_text() == names
    ):
        return library
    # zig would build its C++ library for minutes; g++ 12 does not know -nostdlib++, and drops what is not needed.
    command = list(with_.command)
    system = with_.target or ("macos" if sys.platform == "darwin" else "linux")
    options = ["-target", with_.target] if with_.target else []
    options += ["-nostdlib++"] if with_.zig or "macos" in system else ["-static-libgcc", "-Wl,--as-needed"]
    options += [flag for flag in flags if flag.startswith("-fsanitize")]
    strip = [] if "macos" in system or "-g" in flags else ["-s"]
    _run([*command, *options, "-shared", *strip, *map(str, objects), "-lm", "-o"], library)
    made_from.write_text(names)
    return library


def _run(command: Sequence[str], out: Path) -> None:
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        done = subprocess.run([*command, str(beside)], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise UserError(
                f"the C++ compiler failed on the compiled engine (exit code {done.returncode}):\n"
                f"{' '.join(command)} {beside}\n{done.stderr[-4000:]}"
            )
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One build at a time in a folder; the others wait, and then find what it made."""
    try:
        (out / "objects").mkdir(parents=True, exist_ok=True)
        lock = (out / "objects" / ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written to ({error.strerror}); the compiled engine is built there"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: builds all sets and names the libraries."""
    parser = argparse.ArgumentParser(
        prog="python -m seqdistill.native.build", description="Builds the compiled engine."
    )
    parser.add_argument("--target", help=f"another system ({', '.join(TARGETS)}); needs ziglang")
    parser.add_argument("--out", type=Path, default=LIB, help="folder of the libraries")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    given = parser.parse_args(arguments)
    try:
        libraries = build(given.out, target=given.target, strict=given.strict)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    sys.stdout.writelines(f"{library}\n" for library in libraries.values())


if __name__ == "__main__":
    main()
