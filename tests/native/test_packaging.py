"""Installing: with a compiler the engine is built, without one zig is fetched, or the engine left out and asked for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from runtime.exported import exported, sentences, trained

from seqdistill.decoding.corpus import TorchEngine
from seqdistill.options import DecodingOptions

ROOT = Path(__file__).parents[2]
TRY = """
import sys
from seqdistill.native import library
import seqdistill
print(library.missing() or library.engine().sd_instructions().decode())
if not library.missing():
    print(*seqdistill.load(sys.argv[1]).translate(sys.argv[2:]), sep="\\n")
assert "torch" not in sys.modules
"""
"""Says which engine an install has, or why none, and translates."""
LINES = sentences(5, seed=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, as building leaves folders among them."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "src", "wheels"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(copy)], check=True)
    subprocess.run(["rm", "-rf", str(copy / "src/seqdistill/native/lib")], check=True)
    yield copy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An exported model, and what torch translates LINES to."""
    folder = tmp_path_factory.mktemp("model")
    loaded = trained("sru", folder / "trained")
    hypotheses = TorchEngine(loaded.model, loaded.tokenizers).decode(LINES, DecodingOptions())
    return exported(loaded, folder / "exported"), [row[0].text for row in hypotheses]


def installed(
    source: Path, site: Path, environment: dict[str, str], model: tuple[Path, list[str]], *, fetch: bool = False
) -> str:
    """What the engine of an install with only these environment variables says of itself; it translates as torch does.

    Args:
        fetch: as everybody installs, what building needs from the registry; else what is here.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    isolation = [] if fetch else ["--no-build-isolation"]
    done = subprocess.run([*pip, *isolation, str(source)], env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode and "No matching distribution found for setuptools" in done.stderr and "CI" not in os.environ:
        pytest.skip("needs a registry of packages")
    assert done.returncode == 0, done.stderr
    alone = {**environment, "PYTHONPATH": str(site)}
    program = [sys.executable, "-c", TRY, str(model[0]), *LINES]
    shown = subprocess.run(program, check=True, env=alone, capture_output=True, text=True, cwd=site).stdout
    engine, _, translations = shown.partition("\n")
    assert "not built" in engine or translations.splitlines() == model[1]
    return engine


def without_compiler(tmp_path: Path) -> dict[str, str]:
    """As `env -i PATH=...` gives it, with a folder of no programs; where the registry is, pip is still told."""
    (tmp_path / "bin").mkdir()
    registry = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), **registry}


@pytest.mark.slow
def test_where_nothing_can_be_built_the_install_succeeds_and_says_what_is_missing(
    source: Path, tmp_path: Path, model: tuple[Path, list[str]]
) -> None:
    # As if zig's wheel were not installed here.
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text("import sys; sys.modules['ziglang'] = None")
    environment = {**without_compiler(tmp_path), "PYTHONPATH": str(tmp_path / "hidden")}
    shown = installed(source, tmp_path / "site", environment, model)
    assert "the compiled engine is not built" in shown and "pip install ziglang" in shown


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64", "arm64"), reason="zig has no wheel for it")
def test_without_a_compiler_zig_is_fetched_and_builds_the_engine(
    source: Path, tmp_path: Path, model: tuple[Path, list[str]], kernels: dict[str, object]
) -> None:
    shown = installed(source, tmp_path / "site", without_compiler(tmp_path), model, fetch=True)
    assert shown == next(iter(kernels))


@pytest.mark.slow
def test_with_a_compiler_the_engine_is_installed(
    source: Path, tmp_path: Path, model: tuple[Path, list[str]], kernels: dict[str, object]
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert installed(source, tmp_path / "site", environment, model) == next(iter(kernels))
    assert not list((tmp_path / "site").rglob("*.o"))


ASK = f"""
import sys
sys.modules["ziglang"] = None  # as where it is not installed
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
        ({"CXX": "no-such-compiler"}, "True"),
        ({"CXX": "false"}, "True"),
    ],
)
def test_ziglang_is_asked_for_where_there_is_no_compiler(more: dict[str, str], expected: str) -> None:
    command, environment = [sys.executable, "-c", ASK], {**os.environ, **more}
    shown = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, cwd=ROOT).stdout
    assert shown.split()[-1] == expected


@pytest.mark.slow
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
