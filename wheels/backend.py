"""The build backend: setuptools, with the compiled engine built into wheels and editable installs.

Where the machine has no C++17 compiler it asks for `ziglang`, which is one as a Python package. Where nothing can be
built the install goes on without the engine, and whoever asks for it is told what is missing. SEQDISTILL_TARGET, one
of `compilers.TARGETS`, makes a wheel for another system; then nothing may fail.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - every hook that is not below
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from seqdistill.errors import UserError
from seqdistill.native import build
from seqdistill.native.compilers import compiler, left_out

TAGS = {
    "linux-x86_64": "manylinux_2_17_x86_64",
    "linux-aarch64": "manylinux_2_17_aarch64",
    "macos-arm64": "macosx_11_0_arm64",
}
"""Platform tags of wheels, by target."""
ZIG = "ziglang>=0.13"
ZIG_MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
"""Where there are wheels of it."""


def target() -> str | None:
    """The system to build for, where it is not this one."""
    return os.environ.get("SEQDISTILL_TARGET") or None


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What a wheel needs to be built: see PEP 517."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_missing_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """The same of an editable install, PEP 660."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_missing_compiler()]


def _missing_compiler() -> list[str]:
    if target():
        return [ZIG]
    try:
        compiler()
    except UserError:
        return [ZIG] if platform.machine().lower() in ZIG_MACHINES else []
    return []


class BuildPackage(build_py):
    """Copies the package, then builds the engine: into the wheel, or of an editable install beside its sources."""

    def run(self) -> None:
        super().run()
        lib = build.LIB if self.editable_mode else Path(self.build_lib) / "seqdistill" / "native" / "lib"
        if not self.editable_mode:
            shutil.rmtree(lib, ignore_errors=True)  # perhaps an older build's, for another system
        try:
            build.build(lib, target=target())
            for name, said in left_out(compiler(target())).items():
                self.warn(f"the engine is not built for {name}, which the compiler does not know: {said}")
        except UserError as error:
            if target():
                raise
            self.warn(f"installing without the compiled engine: {error}")
        if not self.editable_mode:
            shutil.rmtree(lib / "objects", ignore_errors=True)


class Wheel(bdist_wheel):
    """py3-none-PLATFORM: the engine is no extension module, so any Python of the platform can use it."""

    def get_tag(self) -> tuple[str, str, str]:
        """Of a wheel without the engine, any platform."""
        if built := target():
            return "py3", "none", TAGS[built]
        if not any(Path(self.bdist_dir or ".").rglob("kernels-*.so")):
            return "py3", "none", "any"
        return "py3", "none", sysconfig.get_platform().replace("-", "_").replace(".", "_")
