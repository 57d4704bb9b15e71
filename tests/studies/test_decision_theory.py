"""The study: seeded, resumable, the same with any number of workers, and won as the theory says where it is clear."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.options import DecisionTheoryOptions
from seqdistill.progress import Silent
from seqdistill.studies.bilstm import BiLSTM, train
from seqdistill.studies.decision_theory import SYSTEMS, Unit, accuracy, run, study_hmm, summary

TINY = DecisionTheoryOptions(
    a=[2.0, 8.0], b=[2.0], hmms=2, train_pairs=50, test_pairs=40, updates=3, batch=8, workers=1
)


def results_in(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.json"))}


def test_accuracy_by_hand() -> None:
    hypotheses, target = torch.tensor([[0, 1], [1, 1], [0, 0]]), torch.tensor([[0, 1], [1, 0], [1, 1]])
    assert accuracy(hypotheses, target) == (3 / 6, 1 / 3)


def test_an_hmm_with_certain_answers_is_learned_by_all_students() -> None:
    """Large b: a symbol tells its state, unless two states prefer the same; all five systems find nearly the same."""
    options = DecisionTheoryOptions(
        states=2, symbols=6, length=4, train_pairs=2000, test_pairs=1000, updates=150, batch=64
    )
    found = next(
        accuracies
        for accuracies in (study_hmm(Unit(1.0, 40.0, number), options) for number in range(1, 9))
        if accuracies["viterbi"].sequence > 0.9
    )
    assert list(found) == list(SYSTEMS)
    for name in SYSTEMS:
        assert found[name].token > 0.95 and found[name].sequence > 0.85


@pytest.mark.slow
def test_each_distilled_student_wins_in_its_own_accuracy() -> None:
    """Strong transitions, weak emissions: the two decoders differ much, and so do the students of what they wrote."""
    found = study_hmm(Unit(8.0, 2.0, 2), DecisionTheoryOptions(updates=150))
    posterior, viterbi = found["posterior"], found["viterbi"]
    assert posterior.token > viterbi.token + 0.01 and viterbi.sequence > posterior.sequence + 0.01
    by_token, by_sequence = found["token_distilled"], found["sequence_distilled"]
    assert by_token.token > by_sequence.token and by_sequence.sequence > by_token.sequence


def test_a_unit_is_the_same_again_and_differs_by_seed_and_number() -> None:
    first = study_hmm(Unit(2.0, 2.0, 1), TINY)
    assert study_hmm(Unit(2.0, 2.0, 1), TINY) == first
    assert study_hmm(Unit(2.0, 2.0, 2), TINY) != first
    assert study_hmm(Unit(2.0, 2.0, 1), TINY.replaced(seed=2)) != first


def test_students_begin_alike_and_see_the_same_batches() -> None:
    """Twice the same targets give twice the same weights; other targets do not."""
    source = torch.randint(4, (30, 5), generator=torch.Generator().manual_seed(1))

    def weights(target: torch.Tensor) -> list[float]:
        generator = torch.Generator().manual_seed(9)
        student = BiLSTM(symbols=4, states=4, embedding=3, hidden=4, generator=generator)
        train(student, source, target, updates=4, batch=20, peak=0.01, generator=generator)
        return torch.cat([part.detach().flatten() for part in student.parameters()]).tolist()

    assert weights(source) == weights(source) != weights(source.flip(1))


def test_the_student_reads_both_directions_and_writes_each_position_by_itself() -> None:
    student = BiLSTM(symbols=4, states=3, embedding=3, hidden=4, generator=torch.Generator().manual_seed(1))
    source = torch.tensor([[0, 1, 2, 3, 0]])
    for place in range(5):
        changed = source.clone()
        changed[0, place] = (source[0, place] + 1) % 4
        assert (student(source) != student(changed)).any(-1).all()
    loss = student.loss(source, torch.tensor([[0, 1, 2, 0, 1]]))
    picked = student(source).log_softmax(-1)[0, torch.arange(5), torch.tensor([0, 1, 2, 0, 1])]
    torch.testing.assert_close(loss.total, -picked.sum())
    assert loss.count == 5


def test_students_learn_a_copy_with_memory() -> None:
    """The target is the symbol before: no position can be written from its own symbol alone."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, (500, 6), generator=generator)
    target = torch.cat([torch.zeros(500, 1, dtype=torch.long), source[:, :-1]], 1)
    student = BiLSTM(symbols=3, states=3, embedding=4, hidden=8, generator=generator)
    train(student, source[:400], target[:400], updates=150, batch=64, peak=0.05, generator=generator)
    assert accuracy(student.hypotheses(source[400:]), target[400:]).sequence > 0.95


class Interrupting(Silent):
    """Ends the run after some HMMs, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left, self.done, self.total = after, 0, 0

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        self.done, self.total = done, total or 0

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        self.left -= 1
        self.done += amount
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    results = run(TINY, tmp_path / "whole", Silent())
    watcher = Interrupting(after=3)
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path / "cut", watcher)
    assert (watcher.done, watcher.total) == (3, 4) and not (tmp_path / "cut" / "study.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut" / "hmms").iterdir()}
    watcher = Interrupting(after=9)
    assert run(TINY, tmp_path / "cut", watcher) == results and (watcher.left, watcher.done) == (8, 4)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()) and len(kept) == 3
    assert results_in(tmp_path / "cut") == results_in(tmp_path / "whole")
    assert read_json(tmp_path / "cut" / "study.json") == results


def test_threads_are_as_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run(TINY.replaced(hmms=1, a=[2.0]), tmp_path, Silent())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "hmms" / "a2.0-b2.0-001.json").exists()


@pytest.mark.slow
def test_a_killed_command_continues_to_the_same_bytes(tmp_path: Path) -> None:
    options = shlex.split("--a 2 --a 8 --b 2 --hmms 3 --train-pairs 50 --test-pairs 40 --updates 3 --batch 8")
    words = [sys.executable, "-m", "seqdistill", "study", "decision-theory", *options]
    killed = subprocess.Popen([*words, "--workers", "2", "--out", tmp_path / "cut"], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("cut/hmms/*.json")):
        assert killed.poll() is None
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert results_in(tmp_path / "cut") and not (tmp_path / "cut" / "manifest.json").exists()
    for out, workers in (("cut", "2"), ("whole", "1")):
        done = subprocess.run([*words, "--workers", workers, "--out", tmp_path / out], capture_output=True, check=True)
        assert b"token wins %" in done.stdout and b"sequence_distilled" in done.stdout
    manifests = [read_json(tmp_path / out / "manifest.json") for out in ("cut", "whole")]
    assert len(manifests[0]["outputs"]) == 7  # six HMMs and study.json, with their hashes
    for part in ("kind", "options", "results", "outputs"):
        assert manifests[0][part] == manifests[1][part]


def test_the_command_is_done_once_and_refuses_other_settings(tmp_path: Path, call: Callable[..., Any]) -> None:
    sizes = shlex.split("--a 2 --b 2 --hmms 1 --train-pairs 20 --test-pairs 10 --updates 2 --batch 4 --workers 1")
    words = ("study", "decision-theory", *sizes, "--out", str(tmp_path / "out"))
    code, shown, _ = call(*words)
    assert code == 0 and "token wins %" in shown and "viterbi" in shown
    code, again, _ = call(*words)
    assert code == 0 and "nothing to do" in again and again.endswith(shown)
    code, _, errors = call(*words, "--updates", "3")
    assert code == 2 and "updates: 2 there, 3 now" in errors
    assert call("status", str(tmp_path / "out"))[1].count("finished") == 1


def result(a: float, token: tuple[float, float], sequence: tuple[float, float]) -> dict[str, Any]:
    """A unit whose distilled students reached these (token, sequence) accuracies."""
    accuracies = {name: {"token": 0.5, "sequence": 0.25} for name in SYSTEMS}
    accuracies["token_distilled"] = {"token": token[0], "sequence": token[1]}
    accuracies["sequence_distilled"] = {"token": sequence[0], "sequence": sequence[1]}
    return {"a": a, "b": 1.0, "number": 1, "accuracy": accuracies}


def test_wins_and_ties_by_hand() -> None:
    both = result(2.0, (0.6, 0.1), (0.5, 0.2))
    neither = result(2.0, (0.5, 0.2), (0.6, 0.1))
    tied = result(4.0, (0.5, 0.2), (0.5, 0.2))
    found = summary([both, neither, both, tied])
    figures = found["figures"]
    assert (figures["token_wins_percent"], figures["sequence_wins_percent"]) == (50, 50)
    assert (figures["token_ties"], figures["sequence_ties"], figures["hmms"]) == (1, 1, 4)
    assert [(row["a"], row["b"], row["hmms"], row["token_ties"]) for row in found["wins"]] == [
        (2, 1, 3, 0),
        (4, 1, 1, 1),
    ]
    assert [row["sequence_wins_percent"] for row in found["wins"]] == [66.67, 0]
    means = {row["system"]: (row["token_accuracy"], row["sequence_accuracy"]) for row in found["accuracy"]}
    assert means["token_distilled"] == (55, 15) and means["real"] == (50, 25)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": []}, "a: expected one number or more, but got none"),
        ({"b": [1.0, float("nan")]}, r"b\.1.*finite"),
        ({"b": [101.0]}, "'b.0': Input should be less than or equal to 100, but it is 101.0"),
        ({"a": [1.0, 1.0]}, "has a value twice"),
        ({"normalise": "sums"}, "unknown normalise 'sums'; did you mean 'sum'"),
        ({"normalise": "sum"}, "dividing by the sum cancels them: give one"),
        ({"symbols": 1}, "'symbols': .*greater than or equal to 2, but it is 1"),
        ({"batch": 0}, "'batch': .*greater than or equal to 1, but it is 0"),
        ({"first_rate": 0.0}, "'first_rate': .*greater than 0, but it is 0.0"),
    ],
)
def test_values_that_make_no_study(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DecisionTheoryOptions(**values)


def test_the_smallest_study_there_is(tmp_path: Path) -> None:
    one = DecisionTheoryOptions(
        a=[1.0],
        b=[1.0],
        normalise="sum",
        hmms=1,
        states=2,
        symbols=2,
        length=1,
        train_pairs=1,
        test_pairs=1,
        updates=1,
        batch=3,
        workers=1,
    )
    assert run(one, tmp_path, Silent())["figures"]["hmms"] == 1
