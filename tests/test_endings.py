"""How the program ends: exit codes, one line, no traceback, at any moment; each case in a process of its own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqdistill.errors import described
from seqdistill.visible import visible

SLOW = """
import os, sys, time
from seqdistill import endings
endings.GRACE_SECONDS = 0.5
def work():
    os.write(1, b"begun\\n")
    {work}
    return 0
with endings.Ending(ends_process=True) as ending:
    ending.code = work()
"""
SWALLOWS = """
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
FAILS_LATER = """
    class Loud:
        def __del__(self):
            time.sleep(0.1)
            raise ValueError("in a destructor")
    kept = [Loud()]
    try:
        time.sleep(60)
    finally:
        kept.clear()
        raise ImportError("made of the signal by a library")
"""
CLEANS = """
    try:
        time.sleep(60)
    finally:
        os.write(1, b"cleaned\\n")
"""
LINES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def started(program: str, **options: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", program],
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # these tests may run in the background
        **pipes,
    )


def after_signal(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, str, str]:
    assert process.stdout and process.stdout.readline() == b"begun\n"
    time.sleep(0.2)  # the work is within its try
    process.send_signal(number)
    out, errors = process.communicate(timeout=30)
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("number", LINES)
@pytest.mark.parametrize("work", [SWALLOWS, FAILS_LATER, CLEANS], ids=["swallows", "fails later", "cleans"])
def test_a_signal_is_one_line_whatever_the_work_makes_of_it(work: str, number: signal.Signals) -> None:
    code, out, errors = after_signal(started(SLOW.format(work=work)), number)
    assert (code, errors) == (128 + number, f"{LINES[number]}; what can be continued is, by the same command\n")
    assert out == ("cleaned\n" if work == CLEANS else "")


def test_the_second_signal_ends_at_once() -> None:
    process = started(SLOW.replace("0.5", "60").format(work=SWALLOWS))
    assert process.stdout and process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130


def test_ignored_signals_stay_ignored() -> None:
    """As of what runs in the background of a script, or under nohup."""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code, _, errors = after_signal(started(ignoring + SLOW.format(work="time.sleep(0.5)")), signal.SIGINT)
    assert (code, errors) == (0, "")


def test_a_signal_while_libraries_are_imported() -> None:
    """`train --data none` imports torch for a second or more before it finds that there is no such directory."""
    words = "'seqdistill', 'train', '--data', 'none', '--model', 'sru', '--out', '/proc/none/out'"
    process = started(
        f"import os, sys; sys.argv = [{words}]\nfrom seqdistill.cli import main\nprint('begun', flush=True)\nmain()"
    )
    assert process.stdout and process.stdout.readline() == b"begun\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (130, b"interrupted; what can be continued is, by the same command\n")


def test_translating_ends_while_standard_input_is_open() -> None:
    """A thread that waits for input must not abort the interpreter when something else ends it."""
    work = """
    from seqdistill.command_line import _standard_input
    import threading
    threading.Thread(target=lambda: list(_standard_input()), daemon=True).start()
    time.sleep(0.3)
    from seqdistill.errors import UserError
    raise UserError("enough")
"""
    process = started(SLOW.format(work=work))
    assert process.wait(timeout=30) == 2
    assert process.stderr and process.stderr.read() == b"error: enough\n"


def test_a_reader_that_has_gone_is_success_and_another_broken_pipe_is_not() -> None:
    writes = "for _ in range(10_000): print('x' * 100)"
    process = started(SLOW.format(work=writes))
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr and process.stderr.read() == b""
    process = started(SLOW.format(work="raise BrokenPipeError(32, 'Broken pipe', 'of a metric')"))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and errors.startswith(b"error: of a metric: broken pipe; ")


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        ("raise UserError('what to do')", 2, "error: what to do\n"),
        ("raise UserError('\\x1b[31m\\udcff')", 2, "error: \\x1b[31m\\xff\n"),
        ("open('/proc/self/none')", 2, "error: /proc/self/none: no such file or directory; check the name\n"),
        ("open('/')", 2, "error: /: is a directory; give a file\n"),
        ("raise MemoryError", 2, "error: memory ran out; give smaller sizes or batches, or fewer workers\n"),
        ("sys.stdout = open('/dev/full', 'w'); print(1)", 2, "error: no space left on device; the disk is full: "),
        ("raise SystemExit(7)", 7, ""),
    ],
)
def test_every_end_has_its_line_and_code(work: str, code: int, said: str) -> None:
    process = started(SLOW.format(work=f"from seqdistill.errors import UserError\n    {work}"))
    errors = process.communicate(timeout=30)[1].decode()
    assert process.returncode == code and errors.startswith(said) and errors.count("\n") == bool(said)


def test_a_bug_has_a_traceback() -> None:
    process = started(SLOW.format(work="1 / 0"))
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1 and b"ZeroDivisionError" in errors


@pytest.mark.parametrize(
    "number",
    ["ENOENT", "EACCES", "EROFS", "EISDIR", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "ENOSPC", "EDQUOT", "EMFILE", "EIO"],
)
def test_errors_of_the_system_name_the_file_and_what_to_do(number: str) -> None:
    code = getattr(errno, number)
    said = described(OSError(code, os.strerror(code), "some/file"))
    assert said.startswith(f"some/file: {os.strerror(code)[:1].lower()}{os.strerror(code)[1:]}; ")
    assert "see to it" not in said


def test_errors_without_a_number_or_a_file_are_described_too() -> None:
    assert described(OSError("gone wrong")).startswith("gone wrong; ")
    assert described(FileNotFoundError(2, "No such file or directory", b"\xff")).startswith("\udcff: no such file")


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert visible("\x1b]0;title\x07 a\tb\n\x9b\x7f") == "\\x1b]0;title\\x07 a\tb\n\\x9b\\x7f"
    assert visible("\udcff\ud800") == "\\xff\\ud800"
    kept = "naïve क्षि שָׁלוֹם\u200c 👩‍👩‍👧"
    assert visible(kept) == kept


def test_a_stage_whose_name_sends_commands_is_shown(tmp_path: Path) -> None:
    (tmp_path / "\x1b[31mred[bold]").mkdir()
    words = ["status", str(tmp_path / "\x1b[31mred[bold]")]
    process = started(f"import sys; sys.argv = ['seqdistill', *{words!r}]\nfrom seqdistill.cli import main; main()")
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 2 and "\\x1b[31mred[bold]: no stage" in errors and "\x1b" not in errors
