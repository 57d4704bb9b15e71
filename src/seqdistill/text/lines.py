"""Lines of text from plain or compressed files, checked: every fault is told with file and line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from seqdistill.errors import UserError

MAX_LINE_BYTES = 1_000_000

_BOM = b"\xef\xbb\xbf"
_STARTS = {
    b"\xff\xfe": "the file begins like UTF-16: convert it to UTF-8",
    b"\xfe\xff": "the file begins like UTF-16: convert it to UTF-8",
    b"PAR1": "the file begins like Parquet: give it a name that ends in .parquet, and read it as a table",
}
_UNPACKED: tuple[tuple[bytes, str, Callable[[IO[bytes]], Any]], ...] = (
    (rb"\x1f\x8b", "gzip", lambda file: gzip.GzipFile(fileobj=file)),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "bzip2", lambda file: _Streams(file, bz2.BZ2Decompressor)),
    (rb"\xfd7zXZ\x00", "xz", lambda file: _Streams(file, lzma.LZMADecompressor, padding=b"\0")),
    (rb"\x28\xb5\x2f\xfd", "zstd", lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")),
)
"""What a compressed file begins with, its kind, and what unpacks it. Names do not count."""
PACKED = (".gz", ".bz2", ".xz", ".zst")
"""How compressed files are called, usually."""
_ARCHIVE = re.compile(rb"PK(\x03\x04|\x05\x06)")
_HEAD = 10
"""Bytes that tell."""
_CHUNK = 1 << 16


def read_lines(path: Path) -> Iterator[str]:
    """Streams the lines of a UTF-8 file, plain or compressed (gzip, bzip2, xz, zstd, by its first bytes), without ends.

    A line ends with LF or CR LF and with nothing else: U+2028, U+0085, form feeds and the like are ordinary characters
    of a line. A CR elsewhere becomes a space. A byte order mark at the start of the file is dropped.

    Raises:
        UserError: as `opened`; the file is empty; a line is not UTF-8, holds a NUL byte, or is longer than a million
            bytes.
    """
    number = 0
    with opened(path) as file:
        while raw := file.readline(MAX_LINE_BYTES + 2):
            number += 1
            if number == 1:
                raw = raw.removeprefix(_BOM)
            yield _line(path, number, raw)
    if number == 0:
        raise UserError(f"{path}: the file is empty; expected one sentence a line")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a plain or compressed file for reading bytes, in order; a pipe of the shell, as <(...), may be one.

    Raises:
        UserError: it is missing, a folder, unreadable, a pipe with a name, a zip archive, or its compressed data are
            cut or broken.
    """
    path, kind = Path(path), ""
    try:
        if path.is_fifo() and path.resolve().is_fifo():  # without a writer, opening it would wait for ever
            raise UserError(f"{path}: is a pipe with a name; write what it gives to a file, and give that")
        with path.open("rb") as plain:
            head = plain.peek(_HEAD)[:_HEAD]
            if _ARCHIVE.match(head):
                raise UserError(f"{path}: is a zip archive; unpack it, and give a file that was in it")
            found = next(((kind, unpack) for start, kind, unpack in _UNPACKED if re.match(start, head)), None)
            if found is None:
                yield plain
            else:
                kind, unpack = found
                with unpack(plain) as unpacked, io.BufferedReader(unpacked, 1 << 20) as file:
                    yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; expected a file") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read by this user; change its permissions") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if not kind or getattr(error, "errno", None) is not None:  # of the system, not of what unpacks
            raise
        raise UserError(f"{path}: the {kind} data were cut or altered ({error}); copy or make the file again") from None


class _Streams(io.RawIOBase):
    """Compressed streams one after the other, unpacked.

    Python's own classes take what follows a stream and does not begin like one for rubbish, and end without a word:
    where the second stream is damaged, half of the text would be lost.
    """

    def __init__(self, file: IO[bytes], stream: Callable[[], Any], *, padding: bytes = b"") -> None:
        """`padding` may follow a stream: zeros, in xz."""
        self._file, self._stream, self._padding = file, stream, padding
        self._open = stream()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer in part; 0 at the end. Raises EOFError where a stream is cut, and what its class raises."""
        found = b""
        while not found:
            packed = b""
            if self._open.eof:
                if not (packed := self._following()):
                    return 0
                self._open = self._stream()
            elif self._open.needs_input and not (packed := self._file.read(_CHUNK)):
                raise EOFError("it ends within a stream")
            found = self._open.decompress(packed, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _following(self) -> bytes:
        """The first bytes after a stream and its padding; none at the end of the file."""
        packed = self._open.unused_data.lstrip(self._padding)
        while not packed and (more := self._file.read(_CHUNK)):
            packed = more.lstrip(self._padding)
        return packed


def one_line(text: str) -> str:
    """A text from a table as one line: line breaks (CR LF, LF, CR) become one space each."""
    if "\n" not in text and "\r" not in text:
        return text
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _line(path: Path, number: int, raw: bytes) -> str:
    """Decodes one line and checks it."""
    ended = raw.endswith(b"\n")
    if len(raw) - ended > MAX_LINE_BYTES and not raw.endswith(b"\r\n"):
        raise UserError(
            f"{path}, line {number:,}: longer than {MAX_LINE_BYTES:,} bytes; expected one sentence a line: is this "
            "text, and does it have line ends?"
        )
    try:
        line = raw[:-1].decode() if ended else raw.decode()
    except UnicodeDecodeError as error:
        hint = next((hint for start, hint in _STARTS.items() if number == 1 and raw.startswith(start)), None)
        if hint is None and number == 1 and path.suffix in PACKED:
            hint = f"it is named {path.suffix}, but does not begin so: copy or download it again"
        found = " ".join(f"{byte:02x}" for byte in error.object[error.start : error.start + 4])
        raise UserError(
            f"{path}, line {number:,}, byte {error.start + 1:,}: expected UTF-8, found {found} ({error.reason}); "
            f"{hint or 'convert the file to UTF-8, for example with iconv'}"
        ) from None
    if "\0" in line:
        raise UserError(
            f"{path}, line {number:,}, character {line.index(chr(0)) + 1:,}: a NUL byte; expected text: remove the "
            "byte, or convert the file if it is UTF-16"
        )
    if ended and line.endswith("\r"):
        line = line[:-1]
    return line.replace("\r", " ") if "\r" in line else line
