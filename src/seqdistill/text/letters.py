"""What a letter, a word and a blank line are, in every script: one definition for keys, metrics and filters.

Python's own `\\w` leaves out combining marks: the vowels of Hindi, the tones of Thai, the points of Hebrew.
"""

from __future__ import annotations

from itertools import islice
from unicodedata import normalize

import regex

UNSPACED_SCRIPTS = ("Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar")
"""Scripts that put no blanks between words."""

# Characters that nobody sees: joiners, direction marks, ZWSP, the byte order mark, fillers, variation selectors.
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_VISIBLE = regex.compile(r"[^\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB\u2800]")
_LETTER = regex.compile(r"\p{L}")
_NO_NAME = regex.compile(r"[^\p{L}\p{M}\p{N}_.-]")
# A mark counts with the letter before it: after a heart, U+FE0F only says how to draw it.
_LETTERS = regex.compile(r"\p{L}[\p{L}\p{M}]*")
_UNSPACED = "".join(rf"\p{{{script}}}" for script in UNSPACED_SCRIPTS)
_UNSPACED_LETTER = regex.compile(rf"[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*", flags=regex.V1)
_COUNTED = regex.compile(
    rf"[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*" rf"|[[^\s\x1c-\x1f]--[\p{{L}}&&[{_UNSPACED}]]]+", flags=regex.V1
)
_WORDS = regex.compile(
    rf"[\p{{L}}&&[{_UNSPACED}]]\p{{M}}*|[[\p{{L}}\p{{N}}]--[{_UNSPACED}]][[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]*",
    flags=regex.V1,
)


def letters(text: str) -> str:
    """The letters of a text with their marks, in lower case and NFKC; all else is left out.

    >>> letters("Caf\u00e9 2, cafe\u0301!"), letters("कल काल")
    ('cafécafé', 'कलकाल')
    """
    return "".join(_LETTERS.findall(_seen(normalize("NFKC", normalize("NFKC", text).lower()))))


def words(text: str) -> list[str]:
    """Lower-cased runs of letters, marks and digits in NFC; in scripts without blanks every letter with its marks.

    On ASCII text these are the words of rouge-score. What nobody sees is left out, but ZWSP stands between words.

    >>> words("Wi-Fi ist schön: 3 mal"), words("हिन्दी में"), words("我用GPT-4")
    (['wi', 'fi', 'ist', 'schön', '3', 'mal'], ['हिन्दी', 'में'], ['我', '用', 'gpt', '4'])
    """
    return _WORDS.findall(_seen(normalize("NFC", text.lower()).replace("\u200b", " ")))


def num_words(text: str) -> int:
    """How many words lie between blanks, where each letter of an unspaced script is one.

    >>> num_words("It's a test."), num_words("我用 GPT-4 。")
    (3, 4)
    """
    return len((text if text.isascii() else _UNSPACED_LETTER.sub(" x ", text)).split())


def first_words(text: str, number: int) -> str:
    """A text up to the end of its first words, counted as `num_words` does; one that has no more, as it is.

    >>> first_words("It's a test.", 2), first_words("我用 GPT-4 。", 3), first_words("我用 GPT-4", 1)
    ("It's a", '我用 GPT-4', '我')
    """
    ends = [word.end() for word in islice(_COUNTED.finditer(text), number + 1)]
    return text[: ends[number - 1]].lstrip() if len(ends) > number else text


def is_visible(text: str) -> bool:
    """Whether there is anything to see: not for blanks, control characters, ZWSP, joiners or direction marks alone."""
    return _VISIBLE.search(text) is not None


def has_letter(text: str) -> bool:
    """Whether a text has a letter of any script."""
    return _LETTER.search(text) is not None


def as_file_name(text: str) -> str:
    """A text as a part of a file name: letters with their marks, digits and `_.-`, everything else as "-"."""
    return _NO_NAME.sub("-", text).strip(".")


def letters_by_script(text: str) -> tuple[dict[str, int], int]:
    """How many letters are of each of UNSPACED_SCRIPTS, and how many letters there are.

    >>> {script: count for script, count in letters_by_script("我说 hi")[0].items() if count}
    {'Han': 2}
    """
    return {name: len(one.findall(text)) for name, one in _BY_SCRIPT.items()}, len(_LETTER.findall(text))


_BY_SCRIPT = {name: regex.compile(rf"[\p{{L}}&&\p{{{name}}}]", flags=regex.V1) for name in UNSPACED_SCRIPTS}


def _seen(text: str) -> str:
    return text if text.isascii() else _IGNORABLE.sub("", text)
