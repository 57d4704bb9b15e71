"""The kernels, built once a session for every instruction set that this machine runs."""

from __future__ import annotations

import ctypes
import os

import pytest

from seqdistill.errors import UserError
from seqdistill.native import build, library


@pytest.fixture(scope="session")
def kernels() -> dict[str, ctypes.CDLL]:
    """Libraries of the kernels' test entry points, by instruction set."""
    sanitized = "SEQDISTILL_SANITIZED" in os.environ  # see tests/native/sanitized.py
    try:
        paths = build.build(build.LIB / "sanitized" if sanitized else build.LIB, tests=True, sanitized=sanitized)
    except UserError as error:
        if "no C++ compiler" in str(error):
            pytest.skip(str(error))
        raise
    libraries = {name: ctypes.CDLL(str(paths[name])) for name in library.runnable(paths["portable"])}
    if not sanitized and "avx512vnni" in libraries and "avxvnni" not in libraries:
        # The same code runs here with the other encoding of its one instruction.
        other = build.build(build.LIB / "evex", tests=True, sets=["avxvnni"], more=['-DSD_VEX=""'])
        libraries["avxvnni"] = ctypes.CDLL(str(other["avxvnni"]))
    for opened in libraries.values():
        for timed in ("linear", "argmax", "embed", "shortlisted", "attend", "attend_rows", "sru", "read"):
            getattr(opened, f"sdt_{timed}").restype = ctypes.c_double
    return libraries
