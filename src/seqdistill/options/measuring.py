"""Options of `measure`: the word aligner, and what is made of its links."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from seqdistill.options.base import MOST, Options
from seqdistill.options.inputs import (
    CaseOptions,
    NormalizationOptions,
    SourceLanguageOptions,
    SourceOptions,
    TableOptions,
    TargetLanguageOptions,
    TargetWordsOptions,
)
from seqdistill.options.running import BootstrapOptions, WorkersOptions

MIN_TENSION, MAX_TENSION = 0.1, 14.0
"""What the aligner's tension may be, also where it is fitted."""


class AlignerOptions(Options):
    """The word aligner; the defaults are those of fast_align with `-d -v`.

    A prior (alpha) makes links better and the entropy of rare words its own, so links are made with one and the lexical
    table, from which C and F are, without.
    """

    em_iterations: int = Field(
        default=5,
        ge=2,
        le=1000,
        description="Aligner: iterations as fast_align's -I counts them: each but the last fits the model, the last "
        "one only finds the links.",
    )
    p0: float = Field(default=0.08, gt=0, lt=1, description="Aligner: probability that NULL generates a word.")
    tension: float = Field(
        default=4.0,
        ge=MIN_TENSION,
        le=MAX_TENSION,
        description="Aligner: how strongly links keep to the diagonal, at first.",
    )
    fit_tension: bool = Field(
        default=False, description="Aligner: fit the tension to the text, from the second iteration on."
    )
    alpha: float = Field(
        default=0.01, ge=0, le=1000, description="Aligner: of variational Bayes for links; 0: maximum likelihood."
    )
    table_alpha: float = Field(
        default=0.0, ge=0, le=1000, description="Aligner: alpha of the lexical table, of which C and F are."
    )

    @property
    def num_fits(self) -> int:
        """How often EM fits the model; fast_align's last iteration is none, it goes through the text for the links."""
        return self.em_iterations - 1

    @property
    def signature(self) -> str:
        """As `model:fast_align|I:5|p0:0.08|tension:fitted-from-4.0|vb:0.01`; I as fast_align's option."""
        tension = f"fitted-from-{self.tension}" if self.fit_tension else str(self.tension)
        return f"model:fast_align|I:{self.em_iterations}|p0:{self.p0}|tension:{tension}|vb:{self.alpha}"


class MeasureOptions(
    AlignerOptions,
    SourceOptions,
    TableOptions,
    SourceLanguageOptions,
    TargetLanguageOptions,
    TargetWordsOptions,
    CaseOptions,
    NormalizationOptions,
    BootstrapOptions,
    WorkersOptions,
):
    """Measures of one or several parallel corpora: complexity, faithfulness, reordering and more."""

    inputs = ("corpora", "real", "source")
    arguments = ("corpora",)

    corpora: list[Path] = Field(
        description="What to measure: data directories, of which the training pairs count, or tables (.tsv, .jsonl, "
        ".parquet); with --source files of targets."
    )
    real: Path | None = Field(default=None, description="The corpus that the others were distilled from, line by line.")
    source_tokenizer: str | None = Field(default=None, description="Words of the source side, as --target-tokenizer.")
    smoothing: float = Field(
        default=0.01, gt=0, lt=1, description="Faithfulness: share of the common background on each side."
    )
    reordering_links: str = Field(default="intersection", description="Links of which reordering is measured.")
    links: list[str] = Field(
        default=["grow-diagonal-final-and"], description="Symmetrised links to write, besides forward and reverse ones."
    )
    text_table: bool = Field(default=False, description="Write the lexical table as text too (table.tsv.gz).")
    student: list[str] = Field(
        default=[], description="Advise for this kind of student only, such as nat; default all."
    )
    sentence: int = Field(default=0, ge=0, le=MOST, description="Line to draw; 0: the one whose order changes most.")
    scratch: Path | None = Field(
        default=None, description="Folder of the aligner's temporary file; default the system's."
    )
