"""How many calls a reader steps through, from a command line to the beam search or to the loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqdistill
from seqdistill.decoding import decode
from seqdistill.models.autoregressive.transformer import Transformer

Call = Callable[..., tuple[int, str, str]]

OURS = str(Path(seqdistill.__file__).parent)
WORDS = ["lamp", "door", "heat", "light", "open", "closed"]
LINES = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "s").write_text("".join(f"{line}\n" for line in LINES))
    (folder / "t").write_text("".join(f"{line[::-1]}\n" for line in LINES))
    text = {"source": folder / "s", "target": folder / "t", "vocab_size": 60, "valid_size": 4}
    seqdistill.prepare(**text, out=folder / "data", quiet=True)
    small = {"model": "transformer", "set": {"dim": 16, "heads": 2, "ffn_dim": 16}, "max_updates": 1}
    seqdistill.train(data=folder / "data", **small, out=folder / "teacher", quiet=True)
    return folder


def frames() -> list[str]:
    """Names of our functions that wait for the caller's caller, the outermost first."""
    found, frame = [], inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(OURS) and frame.f_code.co_name not in ("<listcomp>", "<genexpr>"):
            found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found[::-1]


def recording(function: Callable[..., Any], seen: list[list[str]]) -> Callable[..., Any]:
    def recorded(*given: Any, **named: Any) -> Any:
        seen.append([*frames(), function.__name__])
        return function(*given, **named)

    return recorded


TRANSLATE = "translate --model teacher --engine torch --max-ratio 0.5"
EVALUATE = "evaluate --model teacher --source s --reference t --max-ratio 0.5 --speed-lines 0 --out scores"


@pytest.mark.parametrize("words", [TRANSLATE, EVALUATE])
def test_eight_frames_from_a_command_line_to_the_beam_search(
    data: Path, call: Call, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(data)
    seen: list[list[str]] = []
    monkeypatch.setattr(decode, "beam_search", recording(decode.beam_search, seen))
    code, _, errors = call(*words.split(), stdin=b"a lamp\n")
    assert code == 0, errors
    assert seen[0][:2] == ["run", "execute"] and seen[0][-1] == "beam_search" and len(seen[0]) <= 8, seen[0]


@pytest.mark.parametrize("objective", ["nll", "imitkd", "dagger --dagger-rounds 1"])
def test_seven_frames_from_a_command_line_to_the_loss(
    data: Path, call: Call, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    monkeypatch.chdir(data)
    seen: list[list[str]] = []
    monkeypatch.setattr(Transformer, "loss", recording(Transformer.loss, seen))
    words = f"train --data data --model transformer --set dim=16 --set heads=2 --max-updates 1 --objective {objective}"
    teacher = [] if objective == "nll" else ["--teacher", "teacher"]
    code, _, errors = call(*words.split(), *teacher, "--out", objective.split()[0])
    assert code == 0, errors
    assert seen[0][:2] == ["run", "execute"] and seen[0][-1] == "loss", seen[0]
    assert len(seen[0]) <= (7 if objective == "nll" else 8), seen[0]  # with a teacher, its labels come between
