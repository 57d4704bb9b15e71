"""Files are whole or absent; directories have one writer."""

import errno
import hashlib
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.files import locked, read_json, sha256_file, utf8_name, write_json, write_text, written_beside


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), written_beside(path) as beside:
        beside.write_text("new, half")
        raise RuntimeError
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["result.txt"]


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    with pytest.raises(UserError, match="the disk is full"), written_beside(path) as beside:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def _try_lock(directory: Path, queue: multiprocessing.Queue) -> None:
    try:
        with locked(directory):
            queue.put("got it")
    except UserError as error:
        queue.put(str(error))


def test_two_processes_cannot_hold_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def other() -> str:
        process = context.Process(target=_try_lock, args=(tmp_path, queue))
        process.start()
        answer = queue.get(timeout=60)
        process.join()
        return answer

    with locked(tmp_path):
        assert "another process is writing here" in other()
    assert other() == "got it"


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_makes_nothing_elsewhere(tmp_path: Path) -> None:
    """Opened for appending, a link made an empty file wherever it pointed to, and a pipe was waited for."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    for make in (lambda: (out / ".lock").symlink_to(elsewhere), lambda: os.mkfifo(out / ".lock")):
        make()
        with pytest.raises(UserError, match=r"out/\.lock: is no plain file, so no lock of seqdistill"), locked(out):
            pass
        assert not elsewhere.exists()
        (out / ".lock").unlink()
    with locked(out):
        pass


def test_a_large_file_is_hashed_anew_when_it_changes(tmp_path: Path) -> None:
    """One process reads it once; hashlib on the whole content is the oracle."""
    path = tmp_path / "large"
    content = bytearray(os.urandom(1 << 20))
    for _ in range(3):
        path.write_bytes(content)
        assert sha256_file(path) == sha256_file(path) == hashlib.sha256(content).hexdigest()
        content[7] ^= 1
        time.sleep(0.02)


def test_json_of_an_editor_that_puts_a_mark_in_front_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}


def test_json_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ü": [1, None]})
    assert read_json(path) == {"ü": [1, None]}
    path.write_text(path.read_text()[:-4])
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_know_is_refused_by_its_place(tmp_path: Path, number: float) -> None:
    """Written as NaN or Infinity, no other program reads the file."""
    path = tmp_path / "a.json"
    write_json(path, {"rows": [1.0]})
    with pytest.raises(UserError, match=rf"a\.json: rows\.1\.bleu is {number}, but JSON holds only finite numbers"):
        write_json(path, {"rows": [2.0, {"bleu": number}]})
    assert read_json(path) == {"rows": [1.0]}
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_pipes_with_a_name_and_devices_in_place_of_a_stored_file_are_refused_at_once(tmp_path):
    """Opening the one waits for a writer, reading the other never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (sha256_file, read_json, lambda path: utf8_name(path).__enter__()):
            with pytest.raises(UserError, match=f"{path}: is no plain file but a pipe or device"):
                read(path)
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "gone")
