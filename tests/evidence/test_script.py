"""What the scripts that measure share: options of their defaults' kinds, turns on a made-up clock, results, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evidence.rounds import by_name, medians, ratios, rounds
from evidence.script import arguments, execute, record
from seqdistill.errors import UserError


class Clock:
    """Stands still but for what tasks add."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def task(self, *seconds: float):
        """Takes the next of these times at each call, and returns how many it took."""
        taken = []

        def run() -> int:
            self.now += seconds[len(taken)]
            taken.append(None)
            return len(taken)

        return run


def test_systems_take_turns_and_each_round_begins_with_another_one():
    clock = Clock()
    tasks = {"a": clock.task(100, 1, 2, 3, 4), "b": clock.task(100, 2, 8, 6, 16)}
    told: list[str] = []
    turns = list(rounds(tasks, 4, tell=told.append, clock=clock))
    assert [turn.name for turn in turns] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [turn.round for turn in turns] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert by_name(turns) == {"a": [1, 2, 3, 4], "b": [2, 8, 6, 16]}, "the round that warms up is left out"
    assert by_name(turns, lambda turn: float(turn.result))["a"] == [2, 3, 4, 5]
    assert medians(turns) == {"a": 2.5, "b": 7}
    assert ratios(turns, "b", "a") == [2, 4, 2, 4], "within a round"
    assert len(told) == 10 and told[-1] == "round 4 of 4: a: 4.00 s"


def test_options_are_of_their_defaults_kinds():
    parser = arguments("What it measures.", rival_pairs=3, share=1.0, work=Path("w"))
    given = parser.parse_args(["--rival-pairs", "5", "--work", "x", "--results", "r"])
    assert (given.rival_pairs, given.share, given.work, given.results) == (5, 1.0, Path("x"), Path("r"))
    assert "What it measures." in parser.format_help()


def test_a_result_is_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = arguments("").parse_args(["--results", str(tmp_path)])
    record("speed", given, claim="Fast.", figures={"ratio": 2 / 3}, rows=[{"system": "a"}])
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written["figures"] == {"ratio": 0.6667} and written["rows"] == [{"system": "a"}]
    assert 0 <= written["wall_seconds"] < 60
    assert f"wrote {tmp_path / 'speed.json'}" in capsys.readouterr().out


def test_a_users_mistake_prints_one_message_and_ours_its_traceback(capsys: pytest.CaptureFixture[str]):
    def mistaken() -> None:
        raise UserError("file.txt, line 3: found nothing; write something")

    def broken() -> None:
        raise ValueError("ours")

    with pytest.raises(SystemExit) as ended:
        execute(mistaken)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: file.txt, line 3: found nothing; write something\n"
    with pytest.raises(ValueError, match="ours"):
        execute(broken)
