"""Installing: with a compiler the engine is built, without one it is left out and says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
TRY = """
import sys
from seqdistill.native import library
print(library.missing() or library.engine().sd_instructions().decode())
assert "torch" not in sys.modules
"""
"""Says which engine an install has, or why none."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, as building leaves folders among them."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "src", "wheels"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(copy)], check=True)
    subprocess.run(["rm", "-rf", str(copy / "src/seqdistill/native/lib")], check=True)
    yield copy


def installed(source: Path, site: Path, environment: dict[str, str]) -> str:
    """What the engine of an install with only these environment variables says of itself."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(source)], check=True, env=environment, capture_output=True, timeout=900)
    alone = {**environment, "PYTHONPATH": str(site)}
    shown = subprocess.run([sys.executable, "-c", TRY], check=True, env=alone, capture_output=True, text=True, cwd=site)
    return shown.stdout


def without_compiler(tmp_path: Path) -> dict[str, str]:
    """As `env -i PATH=...` gives it, with a folder of no programs."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


@pytest.mark.slow
def test_without_a_compiler_the_install_succeeds_and_says_what_is_missing(source: Path, tmp_path: Path) -> None:
    environment = {**without_compiler(tmp_path), "CXX": "no-such-compiler"}  # also where ziglang is installed
    shown = installed(source, tmp_path / "site", environment)
    assert "the compiled engine is not built" in shown and "pip install ziglang" in shown


@pytest.mark.slow
def test_with_a_compiler_the_engine_is_installed(source: Path, tmp_path: Path, kernels: dict[str, object]) -> None:
    shown = installed(source, tmp_path / "site", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert shown.strip() == next(iter(kernels))
    assert not list((tmp_path / "site").rglob("*.o"))


ASK = f"""
import sys
sys.path.insert(0, {str(ROOT / "wheels")!r})
import backend
print("ziglang" in " ".join(backend.get_requires_for_build_wheel()))
"""
"""Whether building a wheel asks for ziglang."""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"SEQDISTILL_TARGET": "macos-arm64"}, "True"),
        ({"CXX": "true"}, "False"),
        pytest.param({"CXX": "no-such-compiler"}, str(not find_spec("ziglang"))),
    ],
)
def test_ziglang_is_asked_for_where_there_is_no_compiler(more: dict[str, str], expected: str) -> None:
    command, environment = [sys.executable, "-c", ASK], {**os.environ, **more}
    shown = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, cwd=ROOT).stdout
    assert shown.split()[-1] == expected


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang, which compiles for other processors")
@pytest.mark.parametrize("target", ["linux-aarch64", "macos-arm64"])
def test_wheels_for_other_systems(source: Path, tmp_path: Path, target: str) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    environment = {**os.environ, "SEQDISTILL_TARGET": target}
    subprocess.run(build, check=True, capture_output=True, timeout=900, env=environment)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith(("py3-none-manylinux_2_17_aarch64.whl", "py3-none-macosx_11_0_arm64.whl"))
    with ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if name.endswith(".so")]
        start = {name: archive.read(name)[:20] for name in libraries}
    assert sorted(Path(name).name for name in libraries) == ["kernels-dotprod.so", "kernels-portable.so"]
    # ELF for machine 183, or Mach-O of 64 bits for ARM, by the first bytes of their headers.
    expected = (b"\x7fELF", 183) if "linux" in target else (b"\xcf\xfa\xed\xfe", start[libraries[0]][18])
    assert all((header[:4], header[18]) == expected for header in start.values())
