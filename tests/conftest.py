"""Shared by all tests: shapes are checked by jaxtyping and beartype, and real data is found or the test skips."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

if os.environ.get("SEQDISTILL_SHAPE_CHECKS", "1") == "1":
    install_import_hook("seqdistill", "beartype.beartype")

torch.set_num_threads(1)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True, scope="session")
def unmeasured() -> Iterator[None]:
    """Trainings in the tests' process are in float32 on every machine, unless a test asks for more."""
    from seqdistill.training import precision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "computes_bfloat16", lambda device: False)
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Conversions that tests make do not fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQDISTILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real parallel text beside the repository (or SEQDISTILL_SHARED_DATA); the test skips without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEQDISTILL_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real text is not at {folder}; set SEQDISTILL_SHARED_DATA to its folder")
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs the command line in this process: exit code, standard output, standard error."""

    from seqdistill import cli

    def run(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seqdistill", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capfd.readouterr()
        code = cli.run()
        sys.stdout.flush()
        return code, *capfd.readouterr()

    return run
