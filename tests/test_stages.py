"""A stage: done once, skipped when finished, continued when cut off, refused where another one is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from seqdistill import stages
from seqdistill.errors import UserError
from seqdistill.files import locked, read_json
from seqdistill.manifest import FINISHED, UNFINISHED
from seqdistill.options import EvaluateOptions, Options, PrepareOptions, TrainOptions
from seqdistill.progress import Progress, Silent
from seqdistill.seals import write_sealed
from seqdistill.stages import STAGES, Outcome, Stage, Titled, found_in, run_stage


class Performed:
    """Takes the place of a verb: counts its calls, writes one file, and can be cut off or find a mistake."""

    def __init__(self) -> None:
        self.calls = 0
        self.trouble: BaseException | None = None
        self.before_trouble = ""

    def __call__(self, settings: Options, out: Path, progress: Progress) -> dict[str, Any]:
        self.calls += 1
        if self.before_trouble:
            (out / self.before_trouble).write_text("made")
        if self.trouble:
            raise self.trouble
        (out / "train.arrow").write_text("pairs")
        return {"pairs": 3}


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> Performed:
    performed = Performed()
    for kind in ("prepare", "train"):
        stage = Stage(STAGES[kind].settings, performed, ("*.arrow", "sub/*"))
        monkeypatch.setitem(stages.STAGES, kind, stage)
    return performed


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.en"
    path.write_text("one\ntwo\n")
    return path


def prepare(text: Path, out: Path, **options: Any) -> Outcome:
    settings = PrepareOptions(source=text, target=text, **options)
    return run_stage("prepare", settings, out, Silent(), title="prepare")


def test_a_stage_is_done_once(performed: Performed, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert prepare(text, out) == (True, {"pairs": 3})
    manifest = read_json(out / FINISHED)
    assert manifest["kind"] == "prepare" and manifest["results"] == {"pairs": 3}
    assert manifest["outputs"] == {"train.arrow": hashlib.sha256(b"pairs").hexdigest()}
    assert manifest["inputs"].keys() == {"source", "target"}
    assert prepare(text, out) == (False, {"pairs": 3}) and performed.calls == 1
    assert read_json(out / FINISHED) == manifest


def test_content_counts_and_not_where_it_lies(performed: Performed, text: Path, tmp_path: Path) -> None:
    prepare(text, tmp_path / "out")
    moved = text.rename(tmp_path / "moved.en")
    assert not prepare(moved, tmp_path / "out", cache=tmp_path / "not yet there").done_now
    moved.write_text("one\nthree\n")
    with pytest.raises(UserError, match=r"(?s)differs from the prepare asked for:.*inputs\.source: .* there, .* now"):
        prepare(moved, tmp_path / "out")
    assert performed.calls == 1


def test_a_stage_that_was_cut_off_is_performed_again_with_what_it_left(
    performed: Performed, text: Path, tmp_path: Path
) -> None:
    performed.trouble, performed.before_trouble = KeyboardInterrupt(), "half"
    with pytest.raises(KeyboardInterrupt):
        prepare(text, tmp_path / "out")
    assert (tmp_path / "out" / UNFINISHED).exists() and (tmp_path / "out" / "half").exists()
    with pytest.raises(UserError, match="vocab_size: 8000 there, 9 now"):
        prepare(text, tmp_path / "out", vocab_size=9)
    performed.trouble = None
    assert prepare(text, tmp_path / "out").done_now and not (tmp_path / "out" / UNFINISHED).exists()


def test_a_mistake_found_at_once_leaves_the_directory_free_for_the_corrected_request(
    performed: Performed, text: Path, tmp_path: Path
) -> None:
    performed.trouble = UserError("a mistake")
    with pytest.raises(UserError, match="a mistake"):
        prepare(text, tmp_path / "out", vocab_size=9)
    performed.trouble = None
    assert prepare(text, tmp_path / "out", vocab_size=10).done_now


def test_a_mistake_found_late_keeps_what_was_made(performed: Performed, text: Path, tmp_path: Path) -> None:
    performed.trouble, performed.before_trouble = UserError("the disk is full"), "hours of work"
    with pytest.raises(UserError, match="full"):
        prepare(text, tmp_path / "out")
    assert (tmp_path / "out" / "hours of work").exists() and (tmp_path / "out" / UNFINISHED).exists()


def test_a_continued_stage_that_meets_a_mistake_stays_begun(performed: Performed, text: Path, tmp_path: Path) -> None:
    performed.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        prepare(text, tmp_path / "out")
    performed.trouble = UserError("a mistake")
    with pytest.raises(UserError, match="a mistake"):
        prepare(text, tmp_path / "out")
    assert (tmp_path / "out" / UNFINISHED).exists()


def test_a_directory_in_use_is_left_alone(performed: Performed, text: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(UserError, match="another process is writing here"):
        prepare(text, tmp_path / "out")
    assert performed.calls == 0 and [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_file_cannot_be_the_output_directory(performed: Performed, text: Path) -> None:
    with pytest.raises(UserError, match=r"text\.en: cannot be the output directory"):
        prepare(text, text)
    with pytest.raises(UserError, match="cannot be the output directory"):
        prepare(text, text / "below")
    assert text.read_text() == "one\ntwo\n"


def test_an_output_that_was_cut_is_noticed(performed: Performed, text: Path, tmp_path: Path) -> None:
    prepare(text, tmp_path / "out")
    (tmp_path / "out" / "train.arrow").write_text("pa")
    with pytest.raises(UserError, match=r"train\.arrow: was cut or altered since it was written"):
        prepare(text, tmp_path / "out")


def test_what_is_found_names_what_changed_and_is_empty_for_the_same(
    performed: Performed, text: Path, tmp_path: Path
) -> None:
    same = PrepareOptions(source=text, target=text)
    assert found_in(tmp_path / "out", "prepare", same) == ("absent", [], "")
    prepare(text, tmp_path / "out")
    assert found_in(tmp_path / "out", "prepare", same).is_done
    other = PrepareOptions(source=text, target=text, lowercase=True)
    assert found_in(tmp_path / "out", "prepare", other).differences == ["lowercase: False there, True now"]


def test_a_stage_recorded_before_an_option_existed_is_one_with_its_default(
    performed: Performed, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(text, out)
    recorded = read_json(out / FINISHED)
    assert recorded.pop("seal") and recorded["options"].pop("train_size") == 0
    write_sealed(out / FINISHED, recorded)
    assert not prepare(text, out).done_now
    with pytest.raises(UserError, match=r"train_size: 0 there, 5 now"):
        prepare(text, out, train_size=5)


def test_ranks_but_the_first_train_along_and_leave_the_directory_to_the_first(
    performed: Performed, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "out", TrainOptions(data=text, model="sru")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    out.mkdir()
    with locked(out):
        assert run_stage("train", settings, out, Silent(), title="train").done_now and performed.calls == 1
    assert not (out / FINISHED).exists() and not (out / UNFINISHED).exists()
    monkeypatch.setenv("RANK", "0")
    (out / "train.arrow").unlink()
    assert run_stage("train", settings, out, Silent(), title="train").done_now and (out / FINISHED).exists()
    monkeypatch.setenv("RANK", "1")
    assert run_stage("train", settings, out, Silent(), title="train") == (False, {"pairs": 3}) and performed.calls == 2


@pytest.mark.parametrize("rank", ["0", "1"])
def test_torchrun_is_for_training_only(
    performed: Performed, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(UserError, match=r"torchrun's processes share `train`, but this is `prepare`"):
        prepare(text, tmp_path / "out")
    assert performed.calls == 0 and not (tmp_path / "out").exists()


def test_every_task_of_a_stage_carries_its_title() -> None:
    class Recorded(Silent):
        def __init__(self) -> None:
            self.titles: list[tuple[str, int | None, str, int]] = []
            self.units: list[tuple[int, dict[str, float | str]]] = []
            self.finished = 0

        def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
            self.titles.append((title, total, unit, done))

        def advance(self, amount: int = 1, **fields: float | str) -> None:
            self.units.append((amount, fields))

        def finish(self) -> None:
            self.finished += 1

    watcher = Recorded()
    titled = Titled(watcher, "[2/3] train teacher")
    titled.start("training", total=9, unit="updates", done=4)
    titled.advance(2, loss=1.5)
    titled.finish()
    assert watcher.titles == [("[2/3] train teacher: training", 9, "updates", 4)]
    assert watcher.units == [(2, {"loss": 1.5})] and watcher.finished == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("train", {"data": "d", "model": "sruu"}, "unknown model 'sruu'; did you mean 'sru'"),
        ("train", {"data": "d", "model": "sru", "objective": "nl"}, "unknown objective 'nl'; did you mean 'nll'"),
        (
            "train",
            {"data": "d", "model": "sru", "schedule": "cosin"},
            "unknown schedule 'cosin'; did you mean 'cosine'",
        ),
        ("evaluate", {"model": "m", "metrics": "bleu,chrrf"}, "unknown metric 'chrrf', did you mean 'chrf'"),
        (
            "evaluate",
            {"model": "m", "sampling": True, "beam": 5},
            "sampling draws one sequence at a time, but beam is 5",
        ),
        ("distill", {"teacher": "t", "data": "d", "n_best": 9}, "n_best 9 is more than beam 5"),
        ("prepare", {"corpus": "home-asistant"}, "no corpus 'home-asistant'; did you mean home-assistant"),
        ("decision-theory", {"hmms": 0}, "'hmms': Input should be greater than or equal to 1, but it is 0"),
    ],
)
def test_options_that_cannot_be_are_found_before_anything_runs(
    kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        STAGES[kind].check(STAGES[kind].settings.read(options, where="here"))


def test_options_that_can_be_pass() -> None:
    STAGES["prepare"].check(PrepareOptions(corpus="hub:any/name"))
    STAGES["evaluate"].check(EvaluateOptions(model=Path("m"), metrics="bleu, ter", beam=1, sampling=True))
    STAGES["train"].check(TrainOptions(data=Path("d"), model="nat"))
