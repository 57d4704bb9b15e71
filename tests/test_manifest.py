"""A stage's directory: finished is skipped, unfinished continues, another stage is refused."""

import os
import time
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.journal import Growth, Record
from seqdistill.manifest import (
    FINISHED,
    UNFINISHED,
    abandon,
    begin,
    checked,
    fingerprint,
    finish,
    recorded,
    stages_at,
    status,
)

MACHINE = {"threads": 2}
RECORD = Record("prepare", {"vocab_size": 100, "filters": {"max_length": 3}}, {"source": "aa"})


def finished(directory: Path, content: str = "text") -> Path:
    begin(directory, RECORD, machine=MACHINE)
    (directory / "train.txt").write_text(content)
    finish(directory, RECORD, started=time.monotonic(), results={"pairs": 3}, outputs=[directory / "train.txt"])
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
    for content in ("te", "tExt"):  # of another size, and of the same
        (tmp_path / "train.txt").write_text(content)
        for reader in (lambda: begin(tmp_path, RECORD, machine=MACHINE), lambda: checked(tmp_path / "train.txt")):
            with pytest.raises(UserError, match=r"train\.txt: was cut or altered since it was written"):
                reader()
        with pytest.raises(UserError, match=r"train\.txt: was cut or altered"):
            fingerprint(tmp_path)
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
    finish(out, grows_to(4), started=time.monotonic() - 5, results={}, outputs=[])
    found = begin(out, grows_to(8), machine={"threads": 2})
    assert found == ("finished", [], "updates: 4 there, 8 now") and status(out) == "unfinished"
    begun = read_json(out / UNFINISHED)
    assert begun["growth"] == found.growth and begun["seconds"] == pytest.approx(5, abs=1)
    assert begun["machines"] == [{"threads": 1}, {"threads": 2}] and begun["options"] == {"updates": 8}
    assert begin(out, grows_to(6), machine={"threads": 2}).growth == "updates: 8 there, 6 now"  # not finished, so free
    finish(out, grows_to(6), started=time.monotonic(), results={}, outputs=[])
    assert read_json(out / FINISHED)["machines"] == [{"threads": 1}, {"threads": 2}]
    for number, reason in ((5, "it can grow, not shrink"), (9, "no more paper")):
        with pytest.raises(UserError, match=rf"updates: 6 there, {number} now \({reason}\)"):
            begin(out, grows_to(number, "no more paper"), machine={})


def test_a_kill_between_beginning_to_grow_and_taking_the_manifest_away_changes_nothing(tmp_path: Path) -> None:
    begin(tmp_path, grows_to(4), machine={})
    finish(tmp_path, grows_to(4), started=time.monotonic(), results={}, outputs=[])
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
    finish(out, RECORD, started=time.monotonic() - 5, results={}, outputs=[])
    assert read_json(out / FINISHED)["wall_seconds"] == pytest.approx(205, abs=2)


def test_every_bit_of_a_manifest_counts(tmp_path: Path) -> None:
    """Of 8 x its bytes, no flipped bit leaves another manifest that is believed."""
    finished(tmp_path)
    path, whole = tmp_path / FINISHED, (tmp_path / FINISHED).read_bytes()
    intact = recorded(tmp_path)
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 1 << at % 8
        path.write_bytes(altered)
        try:
            assert recorded(tmp_path) == intact, f"byte {at}"
        except UserError as error:
            assert "manifest.json" in str(error)


def test_a_manifest_of_another_program_is_not_ours(tmp_path: Path) -> None:
    """Web pages have a manifest.json too; a text beside one is a text like any other."""
    (tmp_path / FINISHED).write_text('{"name": "page", "icons": []}')
    (tmp_path / "train.en").write_text("one\n")
    assert checked(tmp_path / "train.en") == tmp_path / "train.en"


def test_a_file_in_a_folder_of_a_stage_is_checked_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(out, RECORD, machine=MACHINE)
    (out / "tiny").mkdir()
    listed, other = out / "tiny" / "table.tsv", out / "tiny" / "notes"
    listed.write_text("a"), other.write_text("b")
    finish(out, RECORD, started=time.monotonic(), results={}, outputs=[], others=[listed])
    assert checked(listed) == listed and checked(other) == other
    listed.write_text("c"), other.write_text("d")
    assert checked(other) == other, "nobody listed it"
    with pytest.raises(UserError, match=r"tiny/table\.tsv: was cut or altered"):
        checked(listed)


def test_what_a_killed_writer_left_goes_when_its_stage_continues(tmp_path: Path) -> None:
    begin(tmp_path, RECORD, machine=MACHINE)
    left = [tmp_path / "model" / ".model.safetensors.123.part", tmp_path / "checkpoints" / ".00000010.123.part" / "x"]
    for path in [*left, tmp_path / "model" / ".notes", tmp_path / "my.part"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    begin(tmp_path, RECORD, machine=MACHINE)
    assert not any(path.exists() for path in left) and not left[1].parent.exists()
    assert (tmp_path / "model" / ".notes").exists() and (tmp_path / "my.part").exists()


def test_a_stage_that_failed_at_once_takes_nothing_hidden_of_the_users_with_it(tmp_path: Path) -> None:
    """An output directory may be one that a user keeps settings in."""
    (tmp_path / ".gitignore").write_text("*")
    begin(tmp_path, RECORD, machine=MACHINE)
    (tmp_path / ".train.arrow.17.part").write_text("half")
    abandon(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_names_that_are_not_utf8_have_a_fingerprint_and_a_record(tmp_path: Path) -> None:
    """They come from the system with half surrogate pairs, which UTF-8 does not have."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.txt")).write_text("text")
    given = Record("prepare", {"scratch": str(folder)}, {"source": fingerprint(folder)})
    out = folder / "out"
    begin(out, given, machine=MACHINE)
    finish(out, given, started=time.monotonic(), results={"at": str(folder)}, outputs=[])
    assert begin(out, given, machine=MACHINE).is_done and recorded(out)["results"] == {"at": str(folder)}
    (out / FINISHED).read_bytes().decode("utf-8")


def test_a_pipe_is_no_input_of_a_stage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a pipe or device, but what it holds is read more than once"):
        fingerprint(tmp_path / "pipe")


def test_the_stages_of_a_directory_are_those_in_it_or_itself(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        begin(tmp_path / name, RECORD, machine=MACHINE)
    (tmp_path / "other").mkdir()
    assert stages_at(tmp_path) == [tmp_path / "one", tmp_path / "two"]
    assert stages_at(tmp_path / "one") == [tmp_path / "one"]
    with pytest.raises(UserError, match="other: holds no stage of seqdistill; give"):
        stages_at(tmp_path / "other")
    with pytest.raises(UserError, match="gone: no such directory"):
        stages_at(tmp_path / "gone")
