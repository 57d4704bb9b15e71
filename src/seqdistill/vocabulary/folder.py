"""What lies in a folder of the Hugging Face hub beside a vocabulary: which symbols are special, and language codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import read_json

ROLES = ("pad", "eos", "bos", "unk", "mask")


def special_symbols(directory: Path, vocabulary: Mapping[str, int]) -> dict[str, int]:
    """The id of each of ROLES, and of `decoder_start`, as far as files of the folder name it.

    Symbols come by their text from tokenizer_config.json and special_tokens_map.json, otherwise by their id from
    config.json and generation_config.json.
    """
    found: dict[str, int] = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        content = _content(directory / name)
        for role in ROLES:
            symbol = content.get(f"{role}_token")
            text = symbol.get("content") if isinstance(symbol, dict) else symbol
            if isinstance(text, str) and text in vocabulary:
                found.setdefault(role, vocabulary[text])
    for name in ("config.json", "generation_config.json"):
        content = _content(directory / name)
        for role in (*ROLES, "decoder_start"):
            token = content.get(f"{role}_token_id")
            token = token[0] if isinstance(token, list) and token else token
            if isinstance(token, int):
                found.setdefault(role, token)
    return found


_CODE = re.compile(r"__\w+__|>>.+<<|<2\w+>|[a-z]{2,3}(_[A-Za-z]+)+")
"""How codes are written: __en__ (M2M-100), >>eng<< (Marian), <2en> (MADLAD), eng_Latn (NLLB), en_XX (mBART)."""


def language_code(vocabulary: Mapping[str, int], language: str, *, where: Path) -> int:
    """The id of a language's code, given as it is written there, or without the signs around it.

    Marked forms come first: `fra` alone is a word piece in many vocabularies.

    Raises:
        UserError: the vocabulary has no such code.
    """
    for text in (f"__{language}__", f">>{language}<<", f"<2{language}>", language):
        if text in vocabulary and _CODE.fullmatch(text):
            return vocabulary[text]
    raise UserError(
        f"{where}: no code of the language {language!r} in this vocabulary: give it as the vocabulary spells it, such "
        "as eng_Latn (NLLB), en (M2M-100) or fra (>>fra<< of Marian), or leave the language out"
    )


def listing(directory: Path) -> str:
    """The first names in a folder, for error messages."""
    if not directory.is_dir():
        return "no such directory"
    names = sorted(path.name for path in directory.iterdir())
    return ", ".join([*names[:8], *(["..."] if names[8:] else [])]) or "nothing"


def _content(path: Path) -> Mapping[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found a {type(content).__name__}; copy the folder again")
    return content
