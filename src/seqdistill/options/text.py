"""Options of text and of the vocabulary that is made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from seqdistill.options.base import MOST, OneOrMore, Options
from seqdistill.options.inputs import (
    CaseOptions,
    NormalizationOptions,
    ScoredWordsOptions,
    SourceLanguageOptions,
    SourceOptions,
    TableOptions,
    TargetLanguageOptions,
    ValidTextOptions,
)
from seqdistill.options.running import SeedOptions


class VocabularyOptions(Options):
    """Subwords."""

    vocab_size: int = Field(
        default=8000, ge=6, le=10_000_000, description="Subword vocabulary, the five special symbols included."
    )
    tokenizer: Literal["bpe", "unigram"] = Field(default="bpe", description="Kind of SentencePiece model.")
    joint: bool = Field(default=True, description="One vocabulary for both sides; otherwise one each.")
    character_coverage: float = Field(
        default=1.0,
        ge=0.98,
        le=1,
        description="Share of the text's characters that the vocabulary holds; below 1 rare ones are left out and "
        "become unknown, for large alphabets (0.9995 is usual for Chinese).",
    )
    tokenizer_from: Path | None = Field(
        default=None,
        description="Train none: take that of a data directory, or of a folder with Marian's files or tokenizer.json.",
    )


class LanguageCodeOptions(Options):
    """Languages of a tokenizer of many."""

    from_language: str = Field(
        default="",
        description="Code of the sources' language in a tokenizer of many (--tokenizer-from), as eng_Latn; what its "
        "words are, --source-language says.",
    )
    to_language: str = Field(
        default="",
        description="Code of the targets' language in a tokenizer of many (--tokenizer-from), as deu_Latn; what its "
        "words are, --target-language says.",
    )


class FilterOptions(Options):
    """Which pairs are kept."""

    max_words: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="Drop training pairs with more words than this on a side; default 250, summaries more.",
    )
    max_word_ratio: float | None = Field(
        default=None,
        gt=1,
        le=MOST,
        description="Drop pairs whose lengths differ by more than this factor; default 9, summaries more.",
    )
    cut_source: int = Field(
        default=0, ge=0, le=MOST, description="Keep this many words of every source, before the filters; 0: all."
    )
    cut_target: int = Field(
        default=0, ge=0, le=MOST, description="Keep this many words of every training target; 0: all."
    )
    keep_duplicates: bool = Field(default=False, description="Keep training pairs that occurred before.")
    keep_copies: bool = Field(default=False, description="Keep training pairs whose target is the source.")


class PrepareOptions(
    SourceOptions,
    TableOptions,
    SourceLanguageOptions,
    TargetLanguageOptions,
    ScoredWordsOptions,
    VocabularyOptions,
    LanguageCodeOptions,
    CaseOptions,
    NormalizationOptions,
    FilterOptions,
    ValidTextOptions,
    SeedOptions,
):
    """Text to a data directory: read, filter, split, train the tokenizer, store token ids."""

    inputs = (
        "source",
        "target",
        "table",
        "valid_source",
        "valid_target",
        "valid_table",
        "test_source",
        "test_target",
        "test_table",
        "tokenizer_from",
    )

    corpus: str | None = Field(default=None, description="A public source (see `seqdistill sources`) or hub:NAME.")
    languages: str | None = Field(
        default=None,
        description="Language pair of --corpus, as en-de (source first), which --source-language and --target-language "
        "need not repeat; several targets as en-de+fr.",
    )
    target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list,
        description="Training text, target side, line by line with --source; given again, a source has several.",
    )
    table: Path | None = Field(
        default=None, description="Training text in one file: .tsv, .jsonl (also compressed) or .parquet."
    )
    valid_table: Path | None = Field(default=None, description="Validation text in one file.")
    test_source: Path | None = Field(default=None, description="Test text, source side.")
    test_target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Test text, target side; given again, a source has several references."
    )
    test_table: Path | None = Field(default=None, description="Test text in one file.")
    valid_size: int = Field(
        default=0, ge=0, le=MOST, description="Hold out this many training pairs when no validation text is given."
    )
    one_target: bool = Field(default=False, description="Keep one target of every training source, drawn at random.")
    train_size: int = Field(
        default=0, ge=0, le=MOST, description="Draw this many of the training pairs at random; 0: all."
    )
    cache: Path | None = Field(default=None, description="Folder of downloaded sources; default ~/.cache/seqdistill.")
