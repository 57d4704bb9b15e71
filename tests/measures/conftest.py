"""Bitexts of words as they stand, and real text with its gold alignments."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from seqdistill.measures.bitext import Bitext, read_bitext
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.text.lines import read_lines

MakeBitext = Callable[..., Bitext]


@pytest.fixture(scope="session")
def make_bitext() -> MakeBitext:
    plain = create_tokenizer(name="none")

    def make(pairs: Iterable[tuple[str, str]], name: str = "toy") -> Bitext:
        return read_bitext(pairs, plain, plain, name=name)

    return make


@pytest.fixture(scope="session")
def captions(shared_data: Path, make_bitext: MakeBitext) -> Bitext:
    """1,014 captions, English and German."""
    columns = (read_lines(shared_data / "multi30k" / f"val.{language}.gz") for language in ("en", "de"))
    moses = [create_tokenizer(language, lowercase=True) for language in ("en", "de")]
    return read_bitext(zip(*columns, strict=True), *moses, name="captions")


@pytest.fixture(scope="session")
def alignment_data(shared_data: Path) -> Path:
    return shared_data / "alignment"
