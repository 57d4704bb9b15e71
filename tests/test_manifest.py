"""A stage's directory: finished is skipped, unfinished continues, another stage is refused."""

import os
import time
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.journal import Growth, Record
from seqdistill.manifest import FINISHED, UNFINISHED, begin, fingerprint, finish, status

MACHINE = {"threads": 2}
RECORD = Record("prepare", {"vocab_size": 100, "filters": {"max_length": 3}}, {"source": "aa"})


def finished(directory: Path, content: str = "text") -> Path:
    begin(directory, RECORD, machine=MACHINE)
    (directory / "train.txt").write_text(content)
    finish(directory, RECORD, started=time.time(), results={"pairs": 3}, outputs=[directory / "train.txt"])
    return directory


def test_a_stage_goes_from_absent_to_unfinished_to_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert status(out) == "absent" and begin(out, RECORD, machine=MACHINE).status == "absent"
    assert status(out) == "unfinished" and begin(out, RECORD, machine=MACHINE).status == "unfinished"
    finished(out)
    assert status(out) == "finished" and begin(out, RECORD, machine=MACHINE).is_done
    assert not (out / UNFINISHED).exists() and read_json(out / FINISHED)["results"] == {"pairs": 3}


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_request_is_refused_and_every_difference_named(tmp_path: Path, is_finished: bool) -> None:
    if is_finished:
        finished(tmp_path)
    else:
        begin(tmp_path, RECORD, machine=MACHINE)
    other = Record("prepare", {"vocab_size": 200, "filters": {"max_length": 4}}, {"source": "bb"})
    with pytest.raises(UserError) as error:
        begin(tmp_path, other, machine=MACHINE)
    for part in (
        "vocab_size: 100 there, 200 now",
        "filters.max_length: 3 there, 4 now",
        "source: 'aa' there, 'bb' now",
    ):
        assert part in str(error.value)


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.tex, but no stage"):
        begin(tmp_path, RECORD, machine=MACHINE)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_cut_or_missing_output_is_noticed(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "train.txt").write_text("te")
    with pytest.raises(UserError, match=r"train\.txt: has 2 bytes, but the manifest records 4"):
        begin(tmp_path, RECORD, machine=MACHINE)
    (tmp_path / "train.txt").unlink()
    with pytest.raises(UserError, match=r"train\.txt: is gone"):
        begin(tmp_path, RECORD, machine=MACHINE)


def test_a_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    for path, content in ((a, "text"), (b, "text"), (c, "other")):
        path.mkdir()
        finished(path, content)
    assert fingerprint(a) == fingerprint(b) != fingerprint(c)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "weights").write_text("w")
    before = fingerprint(plain)
    (plain / "weights").write_text("v")
    assert fingerprint(plain) != before


def test_an_unfinished_or_absent_input_is_refused(tmp_path: Path) -> None:
    begin(tmp_path, RECORD, machine=MACHINE)
    with pytest.raises(UserError, match="not finished"):
        fingerprint(tmp_path)
    with pytest.raises(UserError, match="no such file or directory"):
        fingerprint(tmp_path / "nowhere")


def grows_to(number: int, refused: str = "") -> Record:
    return Record("prepare", {"updates": number}, growth=Growth("updates", refused))


def test_a_stage_that_grows_is_begun_again_and_counts_its_time_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(out, grows_to(4), machine={"threads": 1})
    finish(out, grows_to(4), started=time.time() - 5, results={}, outputs=[])
    found = begin(out, grows_to(8), machine={"threads": 2})
    assert found == ("finished", [], "updates: 4 there, 8 now") and status(out) == "unfinished"
    begun = read_json(out / UNFINISHED)
    assert begun["growth"] == found.growth and begun["seconds"] == pytest.approx(5, abs=1)
    assert begun["machines"] == [{"threads": 1}, {"threads": 2}] and begun["options"] == {"updates": 8}
    assert begin(out, grows_to(6), machine={"threads": 2}).growth == "updates: 8 there, 6 now"  # not finished, so free
    finish(out, grows_to(6), started=time.time(), results={}, outputs=[])
    assert read_json(out / FINISHED)["machines"] == [{"threads": 1}, {"threads": 2}]
    for number, reason in ((5, "it can grow, not shrink"), (9, "no more paper")):
        with pytest.raises(UserError, match=rf"updates: 6 there, {number} now \({reason}\)"):
            begin(out, grows_to(number, "no more paper"), machine={})


def test_a_kill_between_beginning_to_grow_and_taking_the_manifest_away_changes_nothing(tmp_path: Path) -> None:
    begin(tmp_path, grows_to(4), machine={})
    finish(tmp_path, grows_to(4), started=time.time(), results={}, outputs=[])
    manifest = (tmp_path / FINISHED).read_text()
    begin(tmp_path, grows_to(8), machine={})
    (tmp_path / FINISHED).write_text(manifest)
    assert begin(tmp_path, grows_to(8), machine={}).growth == "updates: 4 there, 8 now"
    assert status(tmp_path) == "unfinished"


def test_the_time_of_runs_that_were_killed_counts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(out, RECORD, machine=MACHINE)
    began = (out / UNFINISHED).stat().st_mtime
    for number in (1, 2):  # two runs of 100 seconds, killed, as the files they left show
        (out / "work").write_text("half")
        os.utime(out / "work", (began + 100, began + 100))
        os.utime(out / UNFINISHED, (began, began))
        begin(out, RECORD, machine=MACHINE)
        assert read_json(out / UNFINISHED)["seconds"] == pytest.approx(100 * number, abs=1)
    finish(out, RECORD, started=time.time() - 5, results={}, outputs=[])
    assert read_json(out / FINISHED)["wall_seconds"] == pytest.approx(205, abs=2)
