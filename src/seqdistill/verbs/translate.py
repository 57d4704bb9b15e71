"""`translate`: lines in, lines out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seqdistill.runtime.translator import Translator
from seqdistill.settings import TranslateSettings
from seqdistill.verbs.engine import open_engine


def translate_lines(settings: TranslateSettings, lines: Iterable[str]) -> Iterator[str]:
    """One translation a line; an empty line gives an empty one."""
    return Translator(open_engine(settings), settings.options()).translate(lines)
