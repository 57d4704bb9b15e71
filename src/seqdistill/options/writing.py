"""Options of the verbs that decode text, and of those that score it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.metrics.scores import MetricOptions
from seqdistill.metrics.significance import NUM_SAMPLES, SEED
from seqdistill.options.base import OneOrMore, Options


class DecodingSettings(Options):
    """How text is decoded; shared by distill, translate and evaluate."""

    beam: int | None = Field(
        None,
        ge=1,
        description="Beam size; 1: greedy. Of a non-autoregressive model: lengths tried. Default: 5; 1 when "
        "sampling, or of a model that inserts words, and so finds the length itself.",
    )
    length_penalty: float = Field(1.0, description="Scores are divided by length to this power.")
    max_length: int = Field(256, ge=1, description="Most tokens of an output.")
    max_ratio: float = Field(3.0, gt=0, description="Most tokens of an output, as a factor of the source's, plus 10.")
    no_repeat_ngram: int = Field(
        0, ge=0, description="No n tokens in a row are written twice in an output; 0: allowed."
    )
    min_length: int = Field(0, ge=0, description="Fewest tokens of an output, EOS not counted.")
    sampling: bool = Field(False, description="Sample instead of searching.")
    top_k: int = Field(0, ge=0, description="Sample among the k most probable tokens; 0: all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Sample among the tokens that hold this probability.")
    temperature: float = Field(1.0, gt=0, description="Sharper below 1, flatter above.")
    seed: int = Field(1, description="Seed of the sampling.")
    expert: int | None = Field(
        None, description="Of a mixture, the expert that writes, from 1; default: the best on validation data."
    )
    iterations: int | None = Field(
        None, ge=1, description="Most iterations of a non-autoregressive model; default: its own."
    )
    penalty: float = Field(
        0.0, description="Against inserting nothing, for a model that inserts words; see `tune-penalty`."
    )
    penalty_file: Path | None = Field(None, description="Take the penalty that `tune-penalty` found for this model.")
    prefix: str = Field("", description="Text that every output begins with.")
    prefix_file: Path | None = Field(None, description="Texts that outputs begin with, a line for each line decoded.")
    allowed_file: Path | None = Field(
        None, description="Pieces that outputs may be made of, with spaces between them, a line for each line decoded."
    )
    rescoring_samples: int = Field(
        0, ge=0, description="Samples that FlowSeq scores its lengths by (importance-weighted decoding); 0: none."
    )
    rerank: Path | None = Field(None, description="Trained model that orders the hypotheses by its own score of them.")
    engine: Literal["torch", "ctranslate2"] = Field("torch", description="What computes: our decoder or CTranslate2.")
    compute_type: str = Field(
        "auto",
        description="Precision: float32 (auto), bfloat16; CTranslate2 has others too, and for auto int8.",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, or auto.")

    def options(self, *, n_best: int = 1, inserts: bool = False) -> DecodingOptions:
        """The same, as decoders read it.

        Args:
            inserts: whether the model finds the length itself, so that there are no lengths to try.
        """
        given: dict[str, Any] = {
            name: getattr(self, name) for name in DecodingOptions.__dataclass_fields__ if name != "n_best"
        }
        given["beam"] = self.beam or (1 if self.sampling or inserts else 5)
        return DecodingOptions(n_best=n_best, **given)


class DistillOptions(DecodingSettings):
    """A data directory whose training targets a teacher wrote."""

    inputs = ("teacher", "data", "student_data", "penalty_file", "rerank", "prefix_file", "allowed_file")

    teacher: Path = Field(description="Trained model, from `train`.")
    data: Path = Field(description="Data directory whose training sources are decoded.")
    student_data: Path | None = Field(None, description="Take the tokenizer of this data directory for the new one.")
    n_best: int = Field(1, ge=1, description="Hypotheses kept for each sentence.")
    select: Literal["first", "bleu", "chrf"] = Field(
        "first", description="Hypothesis taken: the teacher's first, or the most like the reference (interpolation)."
    )
    select_among: int = Field(0, ge=0, description="Select among this many of the n-best; 0: all.")
    shard_lines: int = Field(2048, ge=1, description="Lines decoded between two files.")
    workers: int = Field(0, ge=0, description="Processes that decode side by side; 0: as the engine uses all cores.")


class ScoringOptions(Options):
    """How outputs are scored; shared by evaluate and compare."""

    metrics: str = Field("bleu,chrf,ter", description="Comma-separated; `seqdistill evaluate --help` names all.")
    lowercase: bool = Field(False, description="Score lower-cased text.")
    tokenize: str | None = Field(None, description="sacreBLEU's tokeniser, for bleu and ribes; default 13a and none.")
    language: str | None = Field(None, description="Target language, for metrics that depend on it (meteor).")
    stem: bool = Field(False, description="Stem English words in ROUGE.")
    comet_model: str = Field("Unbabel/wmt22-comet-da", description="Model or checkpoint of the metric comet.")
    comet_gpus: int = Field(0, ge=0, description="GPUs for the metric comet; 0: the CPU.")
    beer_home: Path | None = Field(None, description="Folder of an installed BEER program, for the metric beer.")

    @property
    def metric_names(self) -> list[str]:
        """The metrics one by one."""
        return [name.strip() for name in self.metrics.split(",")]

    def metric_options(
        self, *, lowercase: bool, sources: Sequence[str] | None, num_references: int = 1
    ) -> MetricOptions:
        """The same, as metrics read it."""
        return MetricOptions(
            num_references=num_references,
            lowercase=lowercase,
            tokenize=self.tokenize,
            language=self.language or "",
            stem=self.stem,
            comet_model=self.comet_model,
            comet_gpus=self.comet_gpus,
            beer_home=self.beer_home,
            sources=sources,
        )


class EvaluateOptions(ScoringOptions, DecodingSettings):
    """Outputs of a model, scored against references."""

    inputs = (
        *("model", "first_model", "data", "source", "reference", "penalty_file", "rerank", "beer_home"),
        *("prefix_file", "allowed_file"),
    )

    model: Path = Field(description="Trained model, from `train`.")
    first_model: Path | None = Field(None, description="Mixed decoding: this model writes the first tokens.")
    first_tokens: int = Field(0, ge=0, description="How many tokens --first-model writes before --model completes.")
    data: Path | None = Field(None, description="Data directory whose --split is decoded.")
    split: Literal["valid", "test"] = Field("test", description="Part of --data.")
    source: Path | None = Field(None, description="Text to translate, instead of --data.")
    reference: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Its translations; given again, each line has several."
    )
    perplexity: bool = Field(True, description="Also the perplexity of the references under the model.")
    speed_lines: int = Field(100, ge=0, description="Sentences timed one by one on one thread; 0: no timing.")
    traces: int | None = Field(
        None,
        ge=0,
        description="Sentences whose iterations are kept for the report; default 3 of a non-autoregressive model.",
    )


class TunePenaltyOptions(Options):
    """The penalty on inserting nothing that gives a model its best validation BLEU."""

    inputs = ("model", "data")

    model: Path = Field(description="Trained model that inserts words, from `train`.")
    data: Path = Field(description="Data directory whose validation text decides.")
    penalties: list[float] = Field(
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0], description="A penalty to try; give it again for several."
    )
    iterations: int | None = Field(None, ge=1, description="Most iterations; default: the model's own number.")
    max_length: int = Field(256, ge=1, description="Most tokens of an output.")
    max_ratio: float = Field(3.0, gt=0, description="Most tokens of an output, as a factor of the source's, plus 10.")
    lowercase: bool = Field(False, description="Score lower-cased text; done anyway if the tokenizer lower-cases.")
    tokenize: str | None = Field(None, description="sacreBLEU's tokeniser; default 13a.")
    device: str = Field("auto", description="cpu, cuda, cuda:1, or auto.")


class TranslateOptions(DecodingSettings):
    """Standard input to standard output, line by line, in order."""

    model: Path = Field(description="Trained model, from `train`.")
    first_model: Path | None = Field(None, description="Mixed decoding: this model writes the first tokens.")
    first_tokens: int = Field(0, ge=0, description="How many tokens --first-model writes before --model completes.")
    trace: bool = Field(False, description="Show each iteration of a non-autoregressive model on standard error.")


class CompareOptions(ScoringOptions):
    """Two outputs of the same text: does the difference hold?"""

    reference: Path = Field(description="References, one a line.")
    num_references: int = Field(1, ge=1, description="References on each line, with tabs between them.")
    source: Path | None = Field(None, description="Sources, one a line, which the metric comet needs.")
    samples: int = Field(NUM_SAMPLES, ge=40, description="Bootstrap samples.")
    seed: int = Field(SEED, description="Seed of the resampling; the default is sacreBLEU's.")
