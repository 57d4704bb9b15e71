"""What verbs read: data directories, models, text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from seqdistill.options.base import OneOrMore, Options


class DataOptions(Options):
    """A data directory."""

    data: Path | None = Field(default=None, description="Data directory, from `prepare` or `distill`.")


class ModelOptions(Options):
    """A model."""

    model: str | Path = Field(
        description="The directory of a trained model; of `train`, a model by name, such as transformer-base, sru or "
        "mixture, or of non-autoregressive ones nat, inat, cmlm, inst, levt or flowseq."
    )


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


class TargetLanguageOptions(Options):
    """The language of targets, where something depends on it."""

    target_language: str = Field(
        default="",
        description="Two-letter code of the target language: for the tokeniser of words, and metrics (meteor).",
    )


class TargetWordsOptions(Options):
    """What words of the target side are."""

    target_tokenizer: str | None = Field(
        default=None, description="Words of the target side: moses, 13a, zh, char, or none: as they stand in the text."
    )
