"""What an exported model is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from seqdistill.options.base import MOST
from seqdistill.options.inputs import DataOptions, ExpertOptions, ModelOptions, ValidTextOptions
from seqdistill.options.running import PrecisionOptions, WorkersOptions


class ExportOptions(ModelOptions, ExpertOptions, DataOptions, ValidTextOptions, PrecisionOptions, WorkersOptions):
    """A trained model as one directory for an engine that translates."""

    inputs = ("model", "shortlist", "data", "valid_source", "valid_target")
    helps: ClassVar[Mapping[str, str]] = {
        "model": "Directory of the trained model.",
        "precision": "Of the matrices in the export: int8 (each row has a scale of its own), bfloat16 or float32.",
        "data": "Data directory whose validation text the trained and the exported model both translate, to compare.",
        "valid_source": "The same text as a file, instead of --data: source side.",
        "valid_target": "The same text as a file, target side; given again, a source has several.",
        "workers": "Threads that align text for a shortlist, and that translate to compare; 0: one a core.",
    }

    model: Path  # pyright: ignore
    precision: Literal["int8", "bfloat16", "float32"] = "int8"  # pyright: ignore
    to: Literal["compiled", "ctranslate2"] = Field(
        default="compiled",
        description="The engine: ours, for every model but FlowSeq, or CTranslate2, for Transformers.",
    )
    shortlist: Path | None = Field(
        default=None,
        description="Compute only the likely words of a sentence: those that the training text of this data directory "
        "translates its pieces by, or the text of a directory of `measure` (of several corpora one: MEASURES/CORPUS), "
        "or those of another exported model's shortlist.",
    )
    shortlist_best: int = Field(
        default=50, ge=1, le=MOST, description="Translations of each source piece in a shortlist."
    )
    shortlist_frequent: int = Field(
        default=100, ge=0, le=MOST, description="Most frequent target pieces, in every sentence's shortlist."
    )
    verify_lines: int = Field(
        default=1000,
        ge=0,
        le=MOST,
        description="Validation sentences (of --data, --valid-source or the --shortlist's data) that the trained and "
        "the exported model both translate, to compare them: scores here, each line in verified.tsv; 0: none.",
    )
