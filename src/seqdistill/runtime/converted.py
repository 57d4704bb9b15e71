"""A model of CTranslate2 as `export --to ctranslate2` leaves it: checked whole before anything of it is used.

model.bin, config.json, *_vocabulary.json   CTranslate2's own
vmap.txt           target pieces of each source piece, CTranslate2's shortlist; only where one was asked for
tokenizer/         of both sides
seqdistill.json    sealed: which model it is, in which precision, and the hashes of all other files
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.exported import LISTING
from seqdistill.native.directory import TOKENIZER
from seqdistill.seals import check_description, check_listing, read_sealed
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies

VMAP = "vmap.txt"
"""CTranslate2's name of its map from source words to target words."""
FORMAT = 1
"""Of the description; the program reads its own only."""
REMEDY = "copy the whole directory again, or export the model again"

_KINDS: dict[str, type] = {
    "family": str,
    "precision": str,
    "model": str,
    "tokenizer": str,
    "parameters": int,
    "languages": dict,
    "files": dict,
}
"""What the description holds besides its format and the version that wrote it."""


class Converted(NamedTuple):
    """An opened directory."""

    path: Path
    precision: str
    """Of the weights on disk, as CTranslate2 names it."""
    model: str
    """Fingerprint of the trained model."""
    parameters: int
    languages: Languages
    """Of the text that the model was trained on."""
    vmap: bool
    """Whether it has a shortlist."""
    tokenizers: Vocabularies


def open_converted(directory: Path) -> Converted:
    """Reads and checks a directory.

    Raises:
        UserError: a file is missing, cut or altered, or of another format; names it.
    """
    path = directory / LISTING
    found = read_sealed(path, remedy=REMEDY)
    check_description(found, path, version=FORMAT, kinds=_KINDS, remedy=REMEDY)
    check_listing(directory, found["files"], remedy=REMEDY)
    tokenizers = Vocabularies.load(directory / TOKENIZER)
    if tokenizers.fingerprint != found["tokenizer"]:
        raise UserError(f"{directory / TOKENIZER}: is not the tokenizer of this model; {REMEDY}")
    return Converted(
        directory,
        found["precision"],
        found["model"],
        found["parameters"],
        _languages(found["languages"], path),
        VMAP in found["files"],
        tokenizers,
    )


def _languages(kept: Mapping[str, Any], path: Path) -> Languages:
    try:
        return Languages.read(kept)
    except (KeyError, TypeError):
        raise UserError(f"{path}: 'languages' are none; {REMEDY}") from None
