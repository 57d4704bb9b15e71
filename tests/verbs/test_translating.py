"""`translate` in a pipe: what comes out, in which order, by which engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from native.compiled import engine_sets
from runtime.exported import exported, sentences, trained

from seqdistill.native.student import MOST_TOKENS

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, and its export."""
    engine_sets()
    folder = tmp_path_factory.mktemp("models")
    exported(trained("sru", folder / "sru"), folder / "sru-out")
    return folder


@pytest.mark.parametrize("name", ["sru", "sru-out"])
def test_a_line_too_long_for_the_engine_comes_after_those_before_it(models: Path, call: Call, name: str) -> None:
    lines = sentences(5)
    text = "\n".join([*lines, "dog " * (MOST_TOKENS + 1), "the fox"]).encode()
    given = ("translate", "--model", str(models / name), "--beam", "1", "--max-length", "8")
    code, out, errors = call(*given, stdin=text)
    assert code == 2 and "line 6 has" in errors and "--engine torch" in errors
    assert out == call(*given, stdin="\n".join(lines).encode())[1] and len(out.splitlines()) == 5
