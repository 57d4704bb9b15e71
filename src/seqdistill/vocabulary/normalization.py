"""Ways to normalise text before it is cut into pieces or words; identity leaves every character as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, get_args
from unicodedata import normalize

import sentencepiece

Normalization = Literal["identity", "nfc", "nfkc", "nmt_nfkc"]

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
"""nfc: "ä" is one character, however it was typed. nfkc: compatibility characters too (full-width punctuation, ½, ™).
nmt_nfkc: as SentencePiece's default, which also drops what nobody sees and runs of blanks."""


@lru_cache(maxsize=4)
def normalizer(name: Normalization) -> Callable[[str], str]:
    """The function of a normalisation.

    >>> [normalizer(name)("ﬁ：  e\u0301") for name in ("identity", "nfc", "nfkc", "nmt_nfkc")]
    ['ﬁ：  e\u0301', 'ﬁ：  é', 'fi:  é', 'fi: é']
    """
    if name == "identity":
        return str
    if name == "nmt_nfkc":
        program = sentencepiece.SentencePieceNormalizer(
            rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=True
        )
        return program.normalize
    return partial(normalize, "NFC" if name == "nfc" else "NFKC")
