"""Text of others (names of files, headers of tables) as a terminal may be sent it."""

import re

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, those that turn the direction of writing, and halves of surrogate pairs:
bytes of a file name that is not UTF-8."""


def visible(text: str) -> str:
    r"""Shows control characters instead of sending them: ESC, which begins a terminal's commands, as `\x1b`.

    A byte of a name that is not UTF-8 is shown as the byte: `\udcff`, as Python holds it, as `\xff`.
    """
    return CONTROL.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: a byte b that is not UTF-8 is held as U+DC00 + b
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
