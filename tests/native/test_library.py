"""The library that is opened is the best that runs, or the one that is asked for."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.native import build, compilers, library

FLAGS = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx2": "avx2", "dotprod": "asimddp"}
"""What Linux calls them in /proc/cpuinfo."""


@pytest.fixture(scope="session")
def lib(kernels: dict[str, ctypes.CDLL]) -> Path:
    build.build()
    return build.LIB


def test_sets_that_run_are_those_that_linux_names(kernels: dict[str, ctypes.CDLL]) -> None:
    flags = set(re.findall(r"^(?:flags|Features)\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)[0].split())
    expected = [
        name for name in compilers.sets_of(compilers.machine()) if FLAGS.get(name, "portable") in {*flags, "portable"}
    ]
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
    compiler(tmp_path, monkeypatch, refuses="attention.cpp")
    with pytest.raises(UserError, match=r"C\+\+ compiler failed .*exit code 1(.|\n)*error: attention.cpp is too new"):
        build.build(tmp_path)


def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, *, refuses: str) -> None:
    """Makes $CXX a program that writes an empty object, but refuses what has this word among its arguments."""
    script = folder / "old-compiler"
    script.write_text(f"""#!/bin/sh
case "$*" in *{refuses}*) echo "error: {refuses} is too new" >&2; exit 1;; esac
for last; do :; done
: > "$last"
""")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets of x86-64")
@pytest.mark.parametrize("refuses, lacking", [("-mavxvnni", ["avxvnni"]), ("-mavx", ["avx512vnni", "avxvnni", "avx2"])])
def test_sets_that_the_compiler_is_too_old_for_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], refuses: str, lacking: list[str]
) -> None:
    compiler(tmp_path, monkeypatch, refuses=refuses)
    (tmp_path / "kernels-avxvnni.so").write_bytes(b"of a newer compiler")
    expected = [name for name in compilers.sets_of("x86_64") if name not in lacking]
    assert [*build.build(tmp_path)] == expected and {*map(str, tmp_path.glob("*.so"))} == {
        str(tmp_path / f"kernels-{name}.so") for name in expected
    }
    build.main(["--out", str(tmp_path)])
    said = capfd.readouterr().err
    assert all(
        f"left out {name}, which the compiler does not know: exit code 1: error: {refuses}" in said for name in lacking
    )
    with pytest.raises(UserError, match=f"does not know: {lacking[0]}: exit code 1: error: {refuses} is too new"):
        build.build(tmp_path, strict=True)


def test_a_compiler_of_before_2017_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, monkeypatch, refuses="-std=c++17")
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"no C\+\+ compiler.*old-compiler does not compile C\+\+17 \(exit code 1: .*new"
    ):
        build.build(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"\$CXX is no-such-compiler, which is not there.*pip install ziglang"):
        build.build(tmp_path)
    monkeypatch.setattr(compilers, "find_spec", lambda name: True)
    assert compilers.compiler().zig


def test_this_machines_compiler_knows_what_its_processor_runs(kernels: dict[str, ctypes.CDLL]) -> None:
    found = compilers.compiler()
    assert not set(compilers.left_out(found)) & set(kernels)
    assert found.zig or found._replace(command=("false",)).refusal("portable") == "exit code 1"
