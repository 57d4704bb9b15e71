"""Compiles the engine of `cpp/` into `lib/`: one shared library for each instruction set, with any C++17 compiler.

The whole engine is compiled once per set, so that no function of one set can be linked into another. A set that the
compiler is too old for is left out: whoever runs it takes the best of the others. Nothing of the C++ standard library
is used. Where there is no compiler the wheel `ziglang` is one, also for other systems:

    python -m seqdistill.native.build [--target linux-aarch64] [--out DIR] [--strict]

Only the standard library is imported here, as installing runs this file before anything else of ours is there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from seqdistill.errors import UserError
from seqdistill.native.compilers import FLAGS, TARGETS, Compiler, compiler, left_out, sets_of
from seqdistill.native.library import CPP, LIB, digest_of_sources

KERNELS = ("attention", "linear", "norm", "packed", "processor", "recurrence", "shortlist")
"""Sources that the kernels' tests need: the rest of the engine takes several times as long to compile."""
SANITIZED = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


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
        sets: some instruction sets only; all that the compiler knows where none are named.
        strict: warnings are errors, and so is a set that the compiler does not know.
        sanitized: with the address and undefined-behaviour sanitizers; into a folder of its own.
        tests: builds tests-SET.so instead, the kernels alone with entry points for tests.
        more: further options of the compiler; into a folder of its own.

    Raises:
        UserError: no compiler, or it failed; says how.
    """
    with_ = compiler(target)
    unknown = left_out(with_)
    if strict and unknown:
        raise UserError(
            f"sets that {' '.join(with_.command)} does not know: {'; '.join(map(': '.join, unknown.items()))}"
        )
    flags = [*FLAGS, *(["-Werror"] if strict else []), *(SANITIZED if sanitized else []), *more]
    engine = sorted(CPP.glob("*.cpp"))
    kernels = [*(CPP / f"{name}.cpp" for name in KERNELS), *sorted((CPP / "tests").glob("*.cpp"))]
    sources, prefix = (kernels, "tests") if tests else (engine, "kernels")
    with _alone(out), ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            name: [pool.submit(_compiled, with_, flags, name, source, out) for source in sources]
            for name in sets or [each for each in sets_of(with_.machine) if each not in unknown]
        }
        objects = {name: [job.result() for job in compiled] for name, compiled in jobs.items()}
        for name in unknown:
            (out / f"{prefix}-{name}.so").unlink(missing_ok=True)  # another compiler's, of other sources perhaps
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
        unknown = left_out(compiler(given.target))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    sys.stderr.writelines(
        f"left out {name}, which the compiler does not know: {said}\n" for name, said in unknown.items()
    )
    sys.stdout.writelines(f"{library}\n" for library in libraries.values())


if __name__ == "__main__":
    main()
