"""Trainings that grow, and decays that are branched off: the bytes, the log and the scores of one that long at once."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import Bigram, Scores, Stream, loss_of, random_batches

from seqdistill.errors import UserError
from seqdistill.options import TrainingOptions
from seqdistill.progress import Silent
from seqdistill.training.checkpoint import saved
from seqdistill.training.growth import GROWING, End, end_of, lies_on_the_way
from seqdistill.training.log import read_log
from seqdistill.training.loop import TrainingResult, train
from seqdistill.training.options import scheduled_rate

BATCHES = random_batches(12)
LONG = {"max_updates": 20, "decay": 0.2}


class Cut(Silent):
    """Ends the run when so many updates of it are done."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        self.updates -= amount
        if self.updates == 0:
            raise KeyboardInterrupt


def run(out: Path, *, cut: int = 0, branch: Path | None = None, **changes: Any) -> TrainingResult:
    """With dropout; validations at every third update, and so at no end but that of the whole."""
    model = Bigram(0.3)
    validate = changes.pop("validate", loss_of(model, BATCHES[:3]))
    given = {
        "warmup": 2,
        "learning_rate": 0.1,
        "validate_every": 3,
        "metric": "loss",
        "log_every": 4,
        "precision": "float32",
    }
    options = TrainingOptions(tensorboard=False, **(given | LONG | changes))
    progress = Cut(cut) if cut else Silent()
    return train(
        model,
        model.loss,
        Stream(BATCHES),
        options=options,
        validate=validate,
        out=out,
        branch=branch,
        progress=progress,
    )


def logged(out: Path) -> list[dict[str, Any]]:
    rows = read_log(out / "log.jsonl")
    return [{key: value for key, value in row.items() if key != "tokens_per_second"} for row in rows]


def files(out: Path) -> dict[str, bytes]:
    """The last checkpoint of a training: weights, moments, state."""
    return {path.name: path.read_bytes() for path in list(saved(out / "checkpoints"))[-1].iterdir()}


def same(grown: Path, whole: Path, *results: TrainingResult) -> bool:
    mine, other = results
    alike = torch.equal(mine.model.table, other.model.table) and mine[1:] == other[1:]
    return alike and files(grown) == files(whole) and logged(grown) == logged(whole)


@pytest.mark.parametrize("average", [("best", 1), ("last", 2)])
@pytest.mark.parametrize("schedule", GROWING)
def test_ten_updates_and_ten_more_are_twenty(tmp_path: Path, schedule: str, average: tuple[str, int]) -> None:
    options = {"schedule": schedule, "average": average[0], "average_count": average[1]}
    whole = run(tmp_path / "whole", **options)
    assert run(tmp_path / "grown", **options, max_updates=10).updates == 10
    grown = run(tmp_path / "grown", **options)
    assert same(tmp_path / "grown", tmp_path / "whole", grown, whole)


@pytest.mark.parametrize("schedule", GROWING)
def test_killed_while_it_grows(tmp_path: Path, schedule: str) -> None:
    """In the shorter training's decay, again just after growing began, and in its own decay."""
    whole = run(tmp_path / "whole", schedule=schedule, save_every=1)
    for updates, cut in ((10, 9), (10, 0), (20, 1), (20, 8)):
        try:
            run(tmp_path / "grown", schedule=schedule, save_every=1, max_updates=updates, cut=cut)
        except KeyboardInterrupt:
            assert cut
    grown = run(tmp_path / "grown", schedule=schedule, save_every=1)
    assert same(tmp_path / "grown", tmp_path / "whole", grown, whole)


def test_best_checkpoints_of_the_shorter_training_do_not_take_the_longer_ones_away(tmp_path: Path) -> None:
    """The end at update 10 scores best; without it, that of update 3 is the best of both trainings."""
    scores = {3: 5.0, 6: 2.0, 9: 3.0, 12: 1.0, 15: 1.0, 18: 1.0, 20: 1.0}
    options = {"schedule": "constant", "metric": "bleu", "keep": 1}
    whole = run(tmp_path / "whole", **options, validate=Scores("bleu", list(scores.values())))
    short = run(tmp_path / "grown", **options, max_updates=10, validate=Scores("bleu", [5.0, 2.0, 3.0, 9.0]))
    assert short.averaged == [10]
    grown = run(tmp_path / "grown", **options, validate=Scores("bleu", list(scores.values())[3:]))
    assert whole.averaged == grown.averaged == [3] and same(tmp_path / "grown", tmp_path / "whole", grown, whole)


def test_a_training_that_patience_ended_has_ended_however_long_it_may_grow(tmp_path: Path) -> None:
    options = {"schedule": "constant", "metric": "bleu", "patience": 2}
    assert run(tmp_path, **options, validate=Scores("bleu", [3.0, 2.0, 1.0])).updates == 9
    assert run(tmp_path, **options, max_updates=40, validate=Scores("bleu", [9.0])).updates == 9


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_other_schedules_do_not_grow(tmp_path: Path, schedule: str) -> None:
    run(tmp_path, schedule=schedule, max_updates=10)
    with pytest.raises(UserError, match="max_updates: 10 there, 20 now"):
        run(tmp_path, schedule=schedule)


def test_a_training_whose_stable_checkpoint_is_gone_does_not_grow(tmp_path: Path) -> None:
    run(tmp_path, schedule="wsd", max_updates=10)
    for folder in list(saved(tmp_path / "checkpoints"))[:-1]:
        folder.rename(tmp_path / folder.name)
    with pytest.raises(UserError, match=r"no checkpoint from before the decay \(update 8\) is left"):
        run(tmp_path, schedule="wsd")


@pytest.mark.parametrize("cuts", [(), (1, 2)])
@pytest.mark.parametrize("schedule", ["constant", "wsd"])
def test_a_decay_branched_off_is_that_of_one_training(tmp_path: Path, schedule: str, cuts: tuple[int, ...]) -> None:
    """Of update 16 on, where wsd with 20 updates and decay 0.2 begins to decay; killed and continued or not."""
    whole = run(tmp_path / "whole", schedule="wsd", average="last")
    run(tmp_path / "stable", schedule=schedule, max_updates=30, save_every=16, keep=9)
    branch = tmp_path / "stable" / "checkpoints" / "00000016"
    options = {"schedule": "wsd", "branch": branch, "average": "last", "save_every": 1}
    for cut in cuts:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "branch", **options, cut=cut)
    branched = run(tmp_path / "branch", **options)
    assert torch.equal(branched.model.table, whole.model.table) and branched.updates == 20
    assert logged(tmp_path / "branch") == [row for row in logged(tmp_path / "whole") if row["update"] > 16]
    longer = run(tmp_path / "branch", **options, max_updates=24)
    again = run(tmp_path / "again", **options, max_updates=24)
    assert same(tmp_path / "branch", tmp_path / "again", longer, again)


def test_the_rate_of_wsd_by_hand() -> None:
    options = TrainingOptions(tensorboard=False, max_updates=20, warmup=4, learning_rate=8.0, schedule="wsd", decay=0.2)
    rates = [scheduled_rate(update, options, stable=16) for update in (1, 4, 10, 16, 17, 20)]
    assert rates == pytest.approx([2.0, 8.0, 8.0, 8.0, 8.0 * (1 - math.sqrt(1 / 4)), 0.0])


def test_ends_by_hand() -> None:
    assert end_of("wsd", 30, 0.1) == End(30, 27) and end_of("wsd", 3, 0.1) == End(3, 2)
    assert end_of("constant", 30, 0.1) == End(30, 30)
    assert end_of("wsd", 30, 0.1, branch=Path("checkpoints/00000012")) == End(30, 12)
    for update, before, now, expected in (
        (90, End(100, 90), End(200, 180), True),
        (91, End(100, 90), End(200, 180), False),
        (91, End(100, 90), End(100, 90), True),
        (170, End(200, 180), End(180, 162), False),
        (20, End(10, 10), End(15, 15), False),
    ):
        assert lies_on_the_way(update, validated=True, before=before, now=now) is expected
    assert not lies_on_the_way(15, validated=False, before=End(20, 20), now=End(15, 15))


def test_another_number_of_threads_is_a_row_of_the_log(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    run(tmp_path, schedule="constant", max_updates=10, threads=1)
    run(tmp_path, schedule="constant", max_updates=12, threads=2)
    torch.set_num_threads(threads)
    row = next(row for row in logged(tmp_path) if row["kind"] == "machine")
    assert (row["update"], row["threads"]) == (10, 2)
