"""Runs the compiled engine's tests under the address and undefined-behaviour sanitizers: -m tests.native.sanitized.

Python itself is not built with them, so their run-time library is loaded before it. Its own leaks are not ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from seqdistill.native import compilers

KERNELS = ("kernels", "sequences", "same_bits", "unions")
MODELS = ("autoregressive_models", "nonautoregressive", "fuzzed")
DIRECTORIES = "tests/runtime/test_fuzzed_directories.py"
TESTS = (*(f"tests/native/test_{name}.py" for name in (*KERNELS, *MODELS)), DIRECTORIES)


def main() -> None:
    """Ends with pytest's exit code; without g++, whose sanitizers these are, it says so and ends with 1 in CI.

    Raises:
        SystemExit: always, unless nothing was run, which is no error on a machine of somebody's own.
    """
    compiler = compilers.compiler()
    # The C++ library too: torch throws, and what intercepts exceptions looks for it before torch is there.
    names = ("libasan.so", "libstdc++.so")
    found = [
        subprocess.run([*compiler.command, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        for name in names
    ]
    if compiler.zig or not all(Path(each).is_absolute() for each in found):
        sys.stderr.write("no libasan.so of g++ here: the sanitized tests are left out; install g++ to run them\n")
        if os.environ.get("CI"):
            raise SystemExit(1)
        return
    environment = {
        **os.environ,
        "SEQDISTILL_SANITIZED": "1",
        "LD_PRELOAD": " ".join(str(Path(each).resolve()) for each in found),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
    }
    # -s: what the sanitizers say before they end the process would be lost with pytest's own output. What is slow
    # compiles for other processors, without sanitizers.
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", "-m", "not slow", *TESTS]
    raise SystemExit(subprocess.run(pytest, env=environment).returncode)


if __name__ == "__main__":
    main()
