"""The library that is opened is the best that runs, or the one that is asked for."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.native import build, library

FLAGS = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx2": "avx2", "dotprod": "asimddp"}
"""What Linux calls them in /proc/cpuinfo."""


@pytest.fixture(scope="session")
def lib(kernels: dict[str, ctypes.CDLL]) -> Path:
    build.build()
    return build.LIB


def test_sets_that_run_are_those_that_linux_names(kernels: dict[str, ctypes.CDLL]) -> None:
    flags = set(re.findall(r"^(?:flags|Features)\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)[0].split())
    expected = [name for name in build.sets_of(build.machine()) if FLAGS.get(name, "portable") in {*flags, "portable"}]
    assert library.runnable(build.LIB / "tests-portable.so") == expected


def test_each_library_says_what_it_is(lib: Path) -> None:
    for name in library.runnable():
        assert library.engine(name).sd_instructions().decode() == name


def test_a_set_is_forced_by_the_environment(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.chosen() == library.runnable()[0]
    monkeypatch.setenv(library.VARIABLE, "portable")
    assert library.chosen() == "portable"
    monkeypatch.setenv(library.VARIABLE, "avx3")
    with pytest.raises(UserError, match=r"SEQDISTILL_INSTRUCTIONS=avx3: this machine runs .*portable"):
        library.chosen()


def test_without_an_engine_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not built.*python -m seqdistill.native.build.*pip install ziglang"):
        library.chosen(tmp_path)


def test_a_library_of_other_sources_is_named(lib: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the sources is the same; one byte more, one file less, or another name is not; none at all is fine."""
    cpp, opened = tmp_path / "cpp", library.engine.__wrapped__
    shutil.copytree(build.CPP, cpp)
    monkeypatch.setattr(library, "CPP", cpp)
    opened()
    with (cpp / "words.cpp").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"kernels-\w+.so: the sources in .*cpp have changed.*native.build` again"):
        opened()
    shutil.copy(build.CPP / "words.cpp", cpp / "words.cpp")
    opened()
    (cpp / "words.cpp").rename(cpp / "word.cpp")
    with pytest.raises(UserError, match="have changed since it was built"):
        opened()
    shutil.rmtree(cpp)
    opened()


def test_a_damaged_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernels-portable.so").write_bytes(b"not a library")
    with pytest.raises(UserError, match=r"kernels-portable.so: cannot be opened"):
        library.chosen(tmp_path)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for x86-64")
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    with pytest.raises(UserError, match=r"C\+\+ compiler failed .*exit code 1"):
        build.build(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"\$CXX is no-such-compiler, which is not there.*pip install ziglang"):
        build.build(tmp_path)
