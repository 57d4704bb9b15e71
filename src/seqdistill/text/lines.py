"""Lines of text from plain or gzipped files, checked: every fault is told with file and line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from seqdistill.errors import UserError

MAX_LINE_BYTES = 1_000_000

_BOM = b"\xef\xbb\xbf"
_STARTS = {
    b"\x1f\x8b": "the file begins like gzip: give it a name that ends in .gz",
    b"\xff\xfe": "the file begins like UTF-16: convert it to UTF-8",
    b"\xfe\xff": "the file begins like UTF-16: convert it to UTF-8",
    b"PAR1": "the file begins like Parquet: give it a name that ends in .parquet, and read it as a table",
}


def read_lines(path: Path) -> Iterator[str]:
    """Streams the lines of a UTF-8 file, plain or `.gz`, without their ends.

    A line ends with LF or CR LF and with nothing else: U+2028, U+0085, form feeds and the like are ordinary characters
    of a line. A CR elsewhere becomes a space. A byte order mark at the start of the file is dropped.

    Raises:
        UserError: the file is missing, empty, or no gzip though named so; a line is not UTF-8, holds a NUL byte, or is
            longer than a million bytes.
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
    """Opens a plain or gzipped file for reading bytes.

    Raises:
        UserError: it is missing, a folder, unreadable, or its gzip data are cut or broken.
    """
    path = Path(path)
    try:
        with path.open("rb") as plain:
            if path.suffix != ".gz":
                yield plain
            else:
                with gzip.GzipFile(fileobj=plain) as unpacked, io.BufferedReader(unpacked, 1 << 20) as file:
                    yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; expected a file") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read by this user; change its permissions") from None
    except EOFError:
        raise UserError(f"{path}: the gzip file ends too early: it was cut; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}: named .gz, but not valid gzip ({error}); rename it if it is plain text, or copy it again"
        ) from None


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
