"""What verbs read: data directories, models, text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from seqdistill.errors import UserError
from seqdistill.options.base import OneOrMore, Options


class DataOptions(Options):
    """A data directory."""

    data: Path | None = Field(default=None, description="Data directory, from `prepare` or `distill`.")


class ModelOptions(Options):
    """A model."""

    model: str | Path = Field(description="Directory of a trained model, or of what `export` made of it.")


class TeacherOptions(Options):
    """Who is learned from."""

    teacher: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list,
        description="Trained model to learn from; `train` takes several, and averages their distributions.",
    )


class SourceOptions(Options):
    """Text of the source side."""

    source: Path | None = Field(
        default=None,
        description="Text in the source language, a sentence a line, or packed: to train on (`prepare`), to decode "
        "(`evaluate`), of every corpus, which are targets then (`measure`), or for the metric comet (`compare`).",
    )


class ReferenceOptions(Options):
    """Translations that outputs are compared with."""

    reference: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="References, line by line with the outputs; given again, a line has several."
    )


class ValidTextOptions(Options):
    """Text that models are validated on."""

    valid_source: Path | None = Field(default=None, description="Validation text, source side.")
    valid_target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Validation text, target side; given again, a source has several."
    )


class ExpertOptions(Options):
    """Which part of a mixture writes."""

    expert: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Of a mixture, the expert that writes, from 1; default: the best on validation data.",
    )


class TableOptions(Options):
    """Names in files of tables (.tsv, .jsonl, .parquet)."""

    source_column: str = Field(default="source", description="Column or key of the source in a table.")
    target_column: str = Field(default="target", description="Column or key of the target in a table.")


class CaseOptions(Options):
    """Whether case counts."""

    lowercase: bool = Field(
        default=False,
        description="Lower-case the text; when scoring and measuring done anyway if the tokenizer lower-cases.",
    )


def _language(code: str) -> str:
    if code and not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*", code):
        raise UserError(f"expected the code of a language, such as de, pt-BR or zho_Hans, but found {code!r}")
    return code


LanguageCode = Annotated[str, AfterValidator(_language)]
"""As de, pt-BR, zho_Hans; empty where the language is not known."""


class SourceLanguageOptions(Options):
    """The language of sources, where something depends on it."""

    source_language: LanguageCode = Field(
        default="",
        description="Language of the sources, as de or zh-Hans: what its words are; `prepare` keeps it with the data.",
    )


class TargetLanguageOptions(Options):
    """The language of targets, where something depends on it."""

    target_language: LanguageCode = Field(
        default="",
        description="Language of the targets, as de or zh-Hans: what its words are, in every score and measure; "
        "`prepare` keeps it with the data, and then no other verb needs it.",
    )


class ScoredWordsOptions(Options):
    """What the words of targets are when they are scored."""

    tokenize: str | None = Field(
        default=None,
        description="sacreBLEU's tokeniser of words, for bleu (default: the language's, or 13a) and ribes (default: "
        "the language's, or none); `prepare` keeps it with the data.",
    )


class NormalizationOptions(Options):
    """What characters are made the same."""

    normalization: Literal["identity", "nfc", "nfkc", "nmt_nfkc"] | None = Field(
        default=None,
        description="What the text's characters become: identity (what they are), nfc, nfkc (no full-width "
        "punctuation, ½ or ™), or nmt_nfkc (SentencePiece's: also no ZWNJ and no runs of blanks). Default: of "
        "`prepare` identity: a model writes the targets' own characters; of `measure` nmt_nfkc, for every corpus.",
    )


class TargetWordsOptions(Options):
    """What words of the target side are."""

    target_tokenizer: str | None = Field(
        default=None,
        description="Words of the target side: moses, 13a, zh, char, or none: as they stand in the text. Default: by "
        "the language or, where none is named, by the letters.",
    )
