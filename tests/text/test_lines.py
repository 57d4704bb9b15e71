"""Lines of text: what a line is, and every fault told with file and line."""

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.errors import UserError
from seqdistill.text.lines import MAX_LINE_BYTES, one_line, read_lines

UNICODE_BREAKS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"


def packed_by_programs(data: bytes) -> dict[str, bytes]:
    """Packed by the system's programs or by Python's modules, which read_lines' own readers do not share code with."""
    found = {"gzip": gzip.compress(data), "bzip2": bz2.compress(data), "xz": lzma.compress(data)}
    for program in ("zstd", "gzip", "bzip2", "xz"):
        if shutil.which(program):
            found[program] = subprocess.run([program, "-c"], input=data, capture_output=True, check=True).stdout
    return found | {"zstd": found.get("zstd") or pa.compress(data, "zstd", asbytes=True)}


@pytest.mark.parametrize("name", ["text.de", "text.de.gz"])
def test_plain_and_gzipped_lines_are_alike(tmp_path, name):
    path = tmp_path / name
    data = "Erste Zeile\n\nDritte – «Zeile»".encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert list(read_lines(path)) == ["Erste Zeile", "", "Dritte – «Zeile»"]


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(f"{UNICODE_BREAKS}\nsecond\n".encode())
    assert list(read_lines(path)) == [UNICODE_BREAKS, "second"]


def test_crlf_ends_lines_and_a_lone_cr_is_a_space(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"one\r\ntwo\rand a half\r\n\r\nthree")
    assert list(read_lines(path)) == ["one", "two and a half", "", "three"]


def test_byte_order_mark_is_dropped_at_the_start_only(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert list(read_lines(path)) == ["one", "\ufefftwo"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])), min_size=1))
def test_what_was_written_is_read(tmp_path_factory, lines):
    """Any text but NUL and line ends comes back line by line, whatever Unicode calls a line break."""
    path = tmp_path_factory.mktemp("lines") / "text"
    lines[0] = lines[0].removeprefix("\ufeff")
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    assert list(read_lines(path)) == lines


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"gone\.en: no such file"):
        list(read_lines(tmp_path / "gone.en"))


def test_folder(tmp_path):
    with pytest.raises(UserError, match="is a folder; expected a file"):
        list(read_lines(tmp_path))


@pytest.mark.parametrize("name", ["empty", "empty.gz"])
def test_empty_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    with pytest.raises(UserError, match=r"empty.*: the file is empty; expected one sentence a line"):
        list(read_lines(path))


def test_line_that_is_not_utf8(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"fine\nalso\nM\xfcnchen\n")
    with pytest.raises(UserError, match=r"text, line 3, byte 2: expected UTF-8, found fc 6e 63 68 .* iconv"):
        list(read_lines(path))


def test_utf16_is_recognised(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("hällo".encode("utf-16"))
    with pytest.raises(UserError, match="begins like UTF-16"):
        list(read_lines(path))


def test_nul_byte(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"fine\nnot\0fine\n")
    with pytest.raises(UserError, match=r"text, line 2, character 4: a NUL byte"):
        list(read_lines(path))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_longest_line_passes_and_one_byte_more_does_not(tmp_path, end):
    path = tmp_path / "text"
    path.write_bytes(b"short\n" + b"x" * MAX_LINE_BYTES + end)
    assert [len(line) for line in read_lines(path)] == [5, MAX_LINE_BYTES]
    path.write_bytes(b"short\n" + b"x" * (MAX_LINE_BYTES + 1) + end)
    with pytest.raises(UserError, match=r"line 2: longer than 1,000,000 bytes"):
        list(read_lines(path))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("name", ["text", "text.gz", "text.xz"])
def test_what_is_packed_is_known_by_its_first_bytes(tmp_path, kind, name):
    """Whatever the name says; two parts packed one after the other are one text."""
    lines = [f"line {n} ü" for n in range(3000)]
    data = "".join(f"{line}\n" for line in lines).encode()
    path = tmp_path / name
    path.write_bytes(packed_by_programs(data)[kind] * 2)
    assert list(read_lines(path)) == lines * 2


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_packed_data_that_are_cut_or_altered_name_their_kind(tmp_path, kind):
    text = "".join(f"line {n * n}\n" for n in range(5000)).encode()
    data = packed_by_programs(text)[kind]
    path = tmp_path / "text"
    for end in (len(data) - 2, len(data) // 2):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=rf"text: the {kind} data were cut or altered .*; copy or make"):
            list(read_lines(path))
    if kind == "zstd" and not shutil.which("zstd"):
        return  # Arrow packs without a checksum; the program packs with one
    altered = bytearray(data)
    altered[len(data) // 2] ^= 0x10
    path.write_bytes(altered)
    with pytest.raises(UserError, match=rf"the {kind} data were cut or altered|expected UTF-8|NUL byte"):
        list(read_lines(path))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("damage", ["first byte", "cut", "rubbish"])
def test_what_follows_a_whole_stream_is_read_or_refused(tmp_path, kind, damage):
    first, second = (packed_by_programs(f"part {part}\n".encode() * 40)[kind] for part in (1, 2))
    after = {"first byte": bytes([second[0] ^ 1]) + second[1:], "cut": second[:-3], "rubbish": b"no stream"}
    path = tmp_path / "text"
    path.write_bytes(first + after[damage])
    with pytest.raises(UserError, match=rf"the {kind} data were cut or altered"):
        list(read_lines(path))


def test_zeros_may_follow_a_stream_of_xz(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two\n") + bytes(4))
    assert list(read_lines(path)) == ["one", "two"]


def test_plain_text_may_be_called_gz_and_bytes_that_are_none_say_so(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(b"BZh is no word\n")
    assert list(read_lines(path)) == ["BZh is no word"]
    path.write_bytes(b"\x1e\x8b\x08\x00\xff")
    with pytest.raises(UserError, match=r"named \.gz, but does not begin so: copy"):
        list(read_lines(path))


def test_a_zip_archive_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "text", "w") as archive:
        archive.writestr("train.en", "one\n")
    with pytest.raises(UserError, match=r"text: is a zip archive; unpack it"):
        list(read_lines(tmp_path / "text"))


def test_a_pipe_of_the_shell_is_read_once_and_one_with_a_name_is_refused(tmp_path):
    """A pipe with a name and without a writer would be waited for until the end of time."""
    end, start = os.pipe()
    os.write(start, gzip.compress(b"one\ntwo\n"))
    os.close(start)
    assert list(read_lines(Path(f"/dev/fd/{end}"))) == ["one", "two"]
    os.close(end)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe with a name; write what it gives to a file"):
        list(read_lines(tmp_path / "pipe"))


def test_line_breaks_in_a_text_become_one_space_each():
    assert one_line("a\r\nb\nc\rd\u2028e") == "a b c d\u2028e"
