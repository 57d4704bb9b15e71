"""Runs the kernels' tests under the address and undefined-behaviour sanitizers: python -m tests.native.sanitized.

Python itself is not built with them, so their run-time library is loaded before it. Its own leaks are not ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from seqdistill.native import build

TESTS = ("tests/native/test_kernels.py", "tests/native/test_sequences.py", "tests/native/test_same_bits.py")


def main() -> None:
    """Ends with pytest's exit code; without g++, whose sanitizers these are, it says so and does nothing."""
    compiler = build.compiler()
    found = subprocess.run([*compiler.command, "-print-file-name=libasan.so"], capture_output=True, text=True)
    runtime = Path(found.stdout.strip())
    if compiler.zig or not runtime.is_absolute():
        sys.stdout.write("no libasan.so of g++ here: the sanitized tests are left out\n")
        return
    environment = {
        **os.environ,
        "SEQDISTILL_SANITIZED": "1",
        "LD_PRELOAD": str(runtime.resolve()),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
    }
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
    raise SystemExit(subprocess.run(pytest, env=environment).returncode)


if __name__ == "__main__":
    main()
