"""Trainings that grow and decays that are branched off, through the stages: manifests, plans, refusals."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_off import cut_after
from reversed_words import pairs

from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, UNFINISHED
from seqdistill.options import TrainOptions
from seqdistill.pipeline import plan, run, stages_in
from seqdistill.progress import Silent
from seqdistill.recipe import Recipe, read_recipe
from seqdistill.seals import write_sealed
from seqdistill.stages import Outcome, found_in, run_stage
from seqdistill.training.log import read_log
from seqdistill.verbs.train import check


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    prepare(train=pairs(80, 1), valid=pairs(10, 2), test=None, out=folder, vocab_size=60)
    return folder


def options(data: Path, **values: Any) -> TrainOptions:
    given: dict[str, Any] = {"model": "sru", "set": {"dim": 16, "embedding_dim": 8}, "validate_every": 3, "warmup": 2}
    given |= {"batch_tokens": 128, "tensorboard": False, "threads": 1, "precision": "float32", "log_every": 2}
    given |= {"max_updates": 8, "schedule": "wsd"} | values
    if given["schedule"] == "wsd" and "decay_from" not in given:
        given = {"decay": 0.25} | given
    return TrainOptions(data=data, **given)


def train(options: TrainOptions, out: Path) -> Outcome:
    return run_stage("train", options, out, Silent(), title="train")


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def logged(out: Path, after: int = 0) -> list[dict[str, Any]]:
    rows = read_log(out / "log.jsonl")
    timed = ("tokens_per_second", "rollout_time_share", "teacher_time_share")
    return [{key: row[key] for key in row if key not in timed} for row in rows if row["update"] > after]


@pytest.mark.parametrize(
    "more", [{}, {"schedule": "constant"}, {"schedule": "inverse-sqrt", "objective": "imitkd", "mixing": "constant"}]
)
def test_a_finished_stage_grows_to_the_bytes_of_one_that_long(data: Path, tmp_path: Path, more: dict) -> None:
    teacher = [tmp_path / "teacher"] if "objective" in more else []
    if teacher:
        train(options(data), teacher[0])
    short, long = (options(data, **more, teacher=teacher, max_updates=updates) for updates in (4, 8))
    out = tmp_path / "grown"
    train(short, out)
    seconds = read_json(out / FINISHED)["wall_seconds"]
    assert found_in(out, "train", long) == ("finished", [], "max_updates: 4 there, 8 now")
    assert train(long, out).done_now and not train(long, out).done_now
    train(long, tmp_path / "whole")
    assert weights(out) == weights(tmp_path / "whole") and logged(out) == logged(tmp_path / "whole")
    grown, whole = (read_json(folder / FINISHED) for folder in (out, tmp_path / "whole"))
    assert [grown[key] for key in ("options", "results")] == [whole[key] for key in ("options", "results")]
    assert grown["wall_seconds"] > seconds and len(grown["machines"]) == 1
    assert found_in(out, "train", short).differences == ["max_updates: 8 there, 4 now (it can grow, not shrink)"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"schedule": "linear"},
            "schedule 'linear' falls to 0 at the last update; constant, inverse-sqrt, wsd can grow",
        ),
        ({"schedule": "constant", "objective": "imitkd"}, "mixing 'exponential' depends on max_updates; constant can"),
        ({"schedule": "constant", "objective": "dagger"}, "dagger spreads its rounds over max_updates"),
    ],
)
def test_growth_that_something_forbids_says_what(data: Path, tmp_path: Path, more: dict, reason: str) -> None:
    if "objective" in more:
        train(options(data), tmp_path / "teacher")
        more |= {"teacher": [tmp_path / "teacher"], "dagger_rounds": 2} if more["objective"] == "dagger" else {}
        more |= {"teacher": [tmp_path / "teacher"]}
    train(options(data, **more, max_updates=4), tmp_path / "out")
    with pytest.raises(UserError) as error:
        train(options(data, **more), tmp_path / "out")
    assert f"max_updates: 4 there, 8 now ({reason}" in str(error.value)


def recipe_of(data: Path, tmp_path: Path, updates: int) -> Any:
    (tmp_path / "r.toml").write_text(f"""
        [train.teacher]
        data = "{data}"
        model = "sru"
        set = {{ dim = 16, embedding_dim = 8 }}
        max_updates = {updates}
        validate_every = 4
        warmup = 2
        schedule = "constant"
        tensorboard = false
        precision = "float32"
        batch_tokens = 128
    """)
    return read_recipe(tmp_path / "r.toml", out=tmp_path / "out")


def test_plan_and_status_say_grow(data: Path, tmp_path: Path) -> None:
    run(recipe_of(data, tmp_path, 4), Silent)
    longer = recipe_of(data, tmp_path, 8)
    assert [row[1:] for row in plan(longer)] == [("grow", "max_updates: 4 there, 8 now")]
    out = tmp_path / "out" / "teacher"
    dropped = ("wall_seconds", "seal")
    manifest = {key: value for key, value in read_json(out / FINISHED).items() if key not in dropped}
    run(longer, Silent)
    assert [row.action for row in plan(longer)] == ["skip"] and not (out / UNFINISHED).exists()
    manifest |= {"seconds": 0.0, "growth": "max_updates: 8 there, 12 now"}  # as if killed while it grew once more
    write_sealed(out / UNFINISHED, manifest)
    (out / FINISHED).unlink()
    assert stages_in(out)[0].detail.startswith("grow: max_updates: 8 there, 12 now; last checkpoint 0000")


def test_what_was_made_of_a_training_stops_its_growth_before_it_begins(data: Path, tmp_path: Path) -> None:
    scored = '\n[evaluate.scores]\nmodel = "teacher"\ndata = "DATA"\nsplit = "valid"\nspeed_lines = 0\n'

    def recipe(updates: int, more: str) -> Recipe:
        recipe_of(data, tmp_path, updates)
        text = (tmp_path / "r.toml").read_text() + more.replace("DATA", str(data))
        (tmp_path / "r.toml").write_text(text)
        return read_recipe(tmp_path / "r.toml", out=tmp_path / "out")

    run(recipe(4, scored), Silent)
    longer = recipe(8, scored)
    assert [(row.step.name, row.action) for row in plan(longer)] == [("teacher", "grow"), ("scores", "refuse")]
    with pytest.raises(UserError, match=r"made of teacher before it grows: delete .*scores, to make it anew"):
        run(longer, Silent)
    assert read_json(tmp_path / "out" / "teacher" / FINISHED)["options"]["max_updates"] == 4
    shutil.rmtree(tmp_path / "out" / "scores")
    run(longer, Silent)
    assert [row.action for row in plan(longer)] == ["skip", "skip"]


@pytest.mark.parametrize("single", [True, False])
def test_a_decay_branched_off_a_constant_training_is_that_of_wsd(data: Path, tmp_path: Path, single: bool) -> None:
    train(options(data, schedule="constant", max_updates=6, keep=9), tmp_path / "stable")
    at = tmp_path / "stable" / "checkpoints" / "00000006" if single else tmp_path / "stable"
    train(options(data, average="last"), tmp_path / "whole")
    train(options(data, average="last", decay_from=at), tmp_path / "branch")
    assert weights(tmp_path / "branch") == weights(tmp_path / "whole")
    rows = [row for row in logged(tmp_path / "whole", after=6) if row["kind"] != "tie"]
    assert [row for row in logged(tmp_path / "branch") if row["kind"] != "tie"] == rows, "ties are with rows before it"
    assert read_json(tmp_path / "branch" / FINISHED)["inputs"].keys() == {"data", "decay_from"}
    assert train(options(data, average="last", decay_from=at, max_updates=10), tmp_path / "branch").done_now


def test_a_branch_goes_on_without_the_checkpoint_it_left(data: Path, tmp_path: Path) -> None:
    """The stable training was cut off, went on, and deleted the checkpoint; the branch was cut off too."""
    stable = options(data, schedule="constant", max_updates=12, keep=1)
    cut_after(6, lambda: train(stable, tmp_path / "stable"))
    branch = options(data, average="last", max_updates=10, decay_from=tmp_path / "stable")
    cut_after(9, lambda: train(branch, tmp_path / "branch"))
    train(stable, tmp_path / "stable")
    assert not (tmp_path / "stable" / "checkpoints" / "00000006").exists()
    train(branch, tmp_path / "branch")
    train(options(data, average="last", max_updates=10, decay=0.4), tmp_path / "whole")
    assert weights(tmp_path / "branch") == weights(tmp_path / "whole")
    assert not train(branch, tmp_path / "branch").done_now
    named = branch.replaced(decay_from=tmp_path / "stable" / "checkpoints" / "00000006")
    assert not train(named, tmp_path / "branch").done_now


def test_a_growth_that_is_refused_leaves_the_training_as_it_was(data: Path, tmp_path: Path) -> None:
    done = options(data, schedule="constant", max_updates=4)
    train(done, tmp_path / "a")
    before = (tmp_path / "a" / FINISHED).read_bytes()
    with pytest.raises(UserError, match="device"):
        train(done.replaced(max_updates=8, device="cuda:7"), tmp_path / "a")
    assert (tmp_path / "a" / FINISHED).read_bytes() == before and not (tmp_path / "a" / UNFINISHED).exists()
    train(options(data, keep=1, validate_every=8, decay=0.5), tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "00000004")
    with pytest.raises(UserError, match="no checkpoint from before the decay"):
        train(options(data, keep=1, validate_every=8, decay=0.5, max_updates=16), tmp_path / "b")
    assert not train(options(data, keep=1, validate_every=8, decay=0.5), tmp_path / "b").done_now


def test_whatever_ends_a_growth_before_it_grew_leaves_the_training_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = options(data, schedule="constant", max_updates=4)
    train(done, tmp_path / "a")
    before = (tmp_path / "a" / FINISHED).read_bytes()

    def ended(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("seqdistill.verbs.train.assemble", ended)
        train(done.replaced(max_updates=8), tmp_path / "a")
    assert (tmp_path / "a" / FINISHED).read_bytes() == before and not (tmp_path / "a" / UNFINISHED).exists()


def test_a_refused_request_leaves_the_record_of_an_unfinished_training(data: Path, tmp_path: Path) -> None:
    wanted = options(data, schedule="constant", max_updates=30)
    cut_after(6, lambda: train(wanted, tmp_path / "a"))
    with pytest.raises(UserError, match="already trained for 6 updates"):
        train(wanted.replaced(max_updates=4), tmp_path / "a")
    assert read_json(tmp_path / "a" / UNFINISHED)["options"]["max_updates"] == 30
    assert not read_json(tmp_path / "a" / UNFINISHED).get("growth")


def test_a_plan_knows_what_a_cut_off_growth_makes_other_and_what_not(data: Path, tmp_path: Path) -> None:
    """An evaluation of the training is of its end; a branch is of a checkpoint, which stays."""
    more = f"""
        [evaluate.scores]
        model = "teacher"
        data = "{data}"
        split = "valid"
        speed_lines = 0
        [train.branch]
        data = "{data}"
        model = "sru"
        set = {{ dim = 16, embedding_dim = 8 }}
        warmup = 2
        schedule = "wsd"
        decay_from = "teacher"
        max_updates = 6
        validate_every = 3
        tensorboard = false
        precision = "float32"
        batch_tokens = 128
    """

    def recipe(updates: int) -> Recipe:
        recipe_of(data, tmp_path, updates)
        with (tmp_path / "r.toml").open("a") as file:
            file.write(more)
        return read_recipe(tmp_path / "r.toml", out=tmp_path / "out")

    run(recipe(4), Silent)
    longer = recipe(30)
    actions = {row.step.name: row.action for row in plan(longer)}
    assert actions == {"teacher": "grow", "scores": "refuse", "branch": "run"}
    teacher = next(step.settings for step in longer.steps if step.name == "teacher")
    cut_after(8, lambda: train(teacher, tmp_path / "out" / "teacher"))  # type: ignore[arg-type]
    assert {row.step.name: row.action for row in plan(longer)} == actions | {"teacher": "continue"}
    assert [row.action for row in plan(recipe(4))] == ["continue", "run", "run"]
    with pytest.raises(UserError, match="already trained for 8 updates, too many to end at max_updates 4"):
        run(recipe(4), Silent)
    longer = recipe(30)
    shutil.rmtree(tmp_path / "out" / "scores")
    run(longer, Silent)
    assert [row.action for row in plan(longer)] == ["skip"] * 3


def test_threads_of_a_training_stay_its_own(data: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train(options(data, threads=before + 1, max_updates=1, warmup=0), tmp_path / "a")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"schedule": "linear", "decay": 0.2},
            "decay is for schedule 'wsd', but schedule is 'linear': leave decay out",
        ),
        ({"decay_from": Path("x"), "decay": 0.2}, "decay_from says where the decay begins: leave decay out"),
    ],
)
def test_a_decay_that_nothing_reads_is_refused(data: Path, tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(options(data, **values))


def test_branches_that_cannot_be(data: Path, tmp_path: Path) -> None:
    out, constant = tmp_path / "branch", tmp_path / "constant"
    train(options(data), tmp_path / "wsd")
    train(options(data, schedule="constant"), constant)
    train(options(data, schedule="inverse-sqrt"), tmp_path / "sqrt")
    last = tmp_path / "wsd" / "checkpoints" / "00000008"
    for message, more in {
        "begins at a training by schedule constant or wsd, but this is a training by": {
            "decay_from": tmp_path / "sqrt"
        },
        r"00000008: no checkpoint between warm-up and decay, of the updates 2 to 6": {"decay_from": last},
        "max_updates 8 counts the updates until .*00000008 too": {"decay_from": constant},
        "expected the directory of a training, or one of its": {"decay_from": data},
        "(?s)but these differ:\n  learning_rate: 0.0005 there, 0.1 now\ngive those of the training": {
            "decay_from": constant,
            "learning_rate": 0.1,
        },
        "begins a decay by schedule 'wsd', but schedule is 'linear'": {"decay_from": constant, "schedule": "linear"},
        "begins to decay after update 6, within the warm-up of 7": {"warmup": 7},
    }.items():
        with pytest.raises(UserError, match=message):
            train(options(data, **more), out)
