"""Lines of text: what a line is, and every fault told with file and line."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.errors import UserError
from seqdistill.text.lines import MAX_LINE_BYTES, one_line, read_lines

UNICODE_BREAKS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"


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


@pytest.mark.parametrize(
    ("start", "hint"),
    [(gzip.compress(b"hello", mtime=0), r"name that ends in \.gz"), ("hällo".encode("utf-16"), "begins like UTF-16")],
)
def test_other_formats_are_recognised(tmp_path, start, hint):
    path = tmp_path / "text"
    path.write_bytes(start)
    with pytest.raises(UserError, match=hint):
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


def test_a_gz_that_is_no_gzip(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(b"plain text\n")
    with pytest.raises(UserError, match=r"text\.gz: named \.gz, but not valid gzip .* rename it if it is plain"):
        list(read_lines(path))


def test_a_cut_gzip(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\n" % n for n in range(1000)))[:-20])
    with pytest.raises(UserError, match="ends too early"):
        list(read_lines(path))


def test_an_altered_gzip(tmp_path):
    path = tmp_path / "text.gz"
    data = bytearray(gzip.compress(b"".join(b"line %d\n" % n for n in range(1000))))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"not valid gzip|not UTF-8|ends too early|expected UTF-8"):
        list(read_lines(path))


def test_line_breaks_in_a_text_become_one_space_each():
    assert one_line("a\r\nb\nc\rd\u2028e") == "a b c d\u2028e"
