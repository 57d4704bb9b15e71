"""How text is decoded: what decoders read, and what engines do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from seqdistill.errors import UserError
from seqdistill.exported import exported_for
from seqdistill.options.base import MOST, OneOrMore, Options
from seqdistill.options.inputs import DataOptions, ExpertOptions, ModelOptions, TeacherOptions
from seqdistill.options.running import DeviceOptions, SeedOptions, WorkersOptions

NO_COMPILED_SAMPLES = "the compiled engine searches and draws no samples: use --engine torch for sampling"
NO_SAMPLES = (
    "CTranslate2 draws samples that depend on the batch and on the threads, so a run could not be repeated: use "
    "--engine torch for sampling"
)

SHARD_LINES = 2048
"""Lines decoded between two files: seconds to a minute of work, the most a kill can cost."""

MOST_CANDIDATES = 1000
"""Hypotheses or samples of one sentence: each needs the memory of a sentence."""

MOST_PENALTY = 100.0
"""As a log-probability: what has e to the power of -100 is never written."""


class LimitOptions(Options):
    """How long an output may be; the tighter of the two limits holds."""

    max_length: int = Field(default=256, ge=1, le=1_000_000, description="Most tokens of an output, EOS included.")
    max_ratio: float = Field(
        default=3.0, gt=0, le=1000, description="Most tokens of an output, as a factor of the source's, plus 10."
    )


_TRUE = ("true", "1", "yes", "on", "t", "y")
"""What pydantic takes for True."""


class SearchOptions(LimitOptions):
    """How a sequence is searched for, or drawn."""

    beam: int = Field(
        default=5,
        ge=1,
        le=MOST_CANDIDATES,
        description="Beam size; 1: greedy. Of a non-autoregressive model: lengths tried. 1 unless given when sampling, "
        "and of a model that inserts words, and so finds the length itself.",
    )
    length_penalty: float = Field(
        default=1.0,
        ge=-10,
        le=10,
        description="Log-probabilities are divided by the length to this power; 0 ranks by them as they are.",
    )
    sampling: bool = Field(default=False, description="Sample instead of searching.")
    top_k: int = Field(default=0, ge=0, le=MOST, description="Sample among the k most probable tokens; 0: all.")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Sample among the fewest tokens that hold this probability."
    )
    temperature: float = Field(
        default=1.0, ge=0.001, le=1000, description="Divides logits before sampling: sharper below 1, flatter above."
    )

    @model_validator(mode="before")
    @classmethod
    def _beam_of_samples(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("sampling", "")).lower() in _TRUE:
            return {"beam": 1, **values}
        return values

    @model_validator(mode="after")
    def _check_sampling(self) -> SearchOptions:
        if self.sampling and self.beam != 1:
            raise UserError(f"sampling draws one sequence at a time, but beam is {self.beam}: leave beam at 1")
        if not self.sampling and (self.top_k or self.top_p != 1.0 or self.temperature != 1.0):
            raise UserError("top_k, top_p and temperature belong to sampling: set sampling, or leave them out")
        return self


class RefinementOptions(Options):
    """How often a non-autoregressive model writes its output anew."""

    iterations: int | None = Field(
        default=None, ge=1, le=1000, description="Most iterations of a non-autoregressive model; default: its own."
    )


class ProcessorOptions(LimitOptions):
    """What may be written next, of models that write left to right."""

    no_repeat_ngram: int = Field(
        default=0, ge=0, le=1_000_000, description="No n tokens in a row are written twice in an output; 0: allowed."
    )
    min_length: int = Field(default=0, ge=0, le=1_000_000, description="Fewest tokens of an output, EOS not counted.")

    @model_validator(mode="after")
    def _check_lengths(self) -> ProcessorOptions:
        if self.min_length >= self.max_length:
            raise UserError(
                f"min_length {self.min_length} leaves no room under max_length {self.max_length}, in which EOS counts: "
                "lower it, or raise max_length"
            )
        return self


class DecodingOptions(SearchOptions, ProcessorOptions, RefinementOptions, SeedOptions):
    """How to decode; every decoder and engine reads these options."""

    n_best: int = Field(
        default=1, ge=1, le=MOST_CANDIDATES, description="Hypotheses kept for each sentence, best first."
    )
    penalty: float = Field(
        default=0.0,
        ge=-MOST_PENALTY,
        le=MOST_PENALTY,
        description="Against inserting nothing, for a model that inserts words; see `tune-penalty`.",
    )
    rescoring_samples: int = Field(
        default=0,
        ge=0,
        le=MOST_CANDIDATES,
        description="Samples that FlowSeq scores its lengths by (importance-weighted decoding); 0: none.",
    )

    @model_validator(mode="after")
    def _check_candidates(self) -> DecodingOptions:
        if not self.sampling and self.n_best > self.beam:
            raise UserError(f"n_best {self.n_best} is more than beam {self.beam}: widen the beam or ask for fewer")
        return self

    def check_several(self) -> None:
        """Raises UserError for options that give one hypothesis only, of which there is none to choose."""
        if (self.n_best if self.sampling else self.beam) == 1:
            raise UserError(
                "reranking chooses among several hypotheses, but one is asked for: give a beam of 2 or more (of a "
                "non-autoregressive model, lengths tried), or sample several"
            )

    def for_model(self, *, inserts: bool) -> DecodingOptions:
        """With the beam such a model has unless one is given: 1 where it finds the length itself."""
        return self.replaced(beam=1) if inserts and "beam" not in self.model_fields_set else self


class ComputingOptions(DeviceOptions):
    """What computes."""

    engine: Literal["auto", "torch", "compiled", "ctranslate2"] = Field(
        default="auto",
        description="What computes: torch, our decoder; compiled, our engine for the CPU; ctranslate2; or auto: "
        "that of an exported model, in `translate` of others the fastest that writes what torch writes, otherwise "
        "torch.",
    )
    compute_type: str = Field(
        default="auto",
        description="Precision: float32 (auto), bfloat16; of compiled and CTranslate2, which has others, also int8 "
        "(their auto).",
    )

    def recorded(self) -> dict[str, Any]:
        """With the engine that `auto` stands for in a stage, whose result must not depend on what a machine has."""
        return {**super().recorded(), "engine": self.engine_of_record}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """With the engine that records without one had."""
        return {**super().defaults(), "engine": "torch"}

    @property
    def engine_of_record(self) -> str:
        """The engine of a stage: `auto` is that of an exported model, and torch for a trained one."""
        if self.engine != "auto":
            return self.engine
        return next((engine for path in self._models if (engine := exported_for(path))), "torch")

    @property
    def _models(self) -> list[Path]:
        """The model that computes."""
        given = getattr(self, "teacher", None) or getattr(self, "model", None) or []
        return [Path(path) for path in (given if isinstance(given, list) else [given])]


class EngineOptions(ComputingOptions, ExpertOptions):
    """What computes, with which weights, and who orders the candidates."""

    penalty_file: Path | None = Field(
        default=None, description="Take the penalty that `tune-penalty` found for this model."
    )
    prefix: str = Field(default="", description="Text that every output begins with.")
    prefix_file: Path | None = Field(
        default=None, description="Texts that outputs begin with, a line for each line decoded."
    )
    allowed_file: Path | None = Field(
        default=None,
        description="Pieces that outputs may be made of, with spaces between them, a line for each line decoded.",
    )
    rerank: Path | None = Field(
        default=None, description="Trained model that orders the hypotheses by its own score of them."
    )


class WritingOptions(DecodingOptions, EngineOptions):
    """A model that writes: how, and on what."""

    @model_validator(mode="after")
    def _check_engine(self) -> WritingOptions:
        if self.penalty and self.penalty_file:
            raise UserError("penalty and penalty_file both give the penalty; keep one")
        if self.prefix and self.prefix_file:
            raise UserError("prefix and prefix_file both say how outputs begin; keep one")
        if self.engine == "ctranslate2" and self.sampling:
            raise UserError(NO_SAMPLES)
        if self.engine == "ctranslate2":
            for name in ("iterations", "penalty", "penalty_file", "rescoring_samples"):
                if value := getattr(self, name):
                    raise UserError(
                        f"{name} {value} is for non-autoregressive models, which CTranslate2 does not run: leave out "
                        "one of the two"
                    )
        if self.engine == "compiled" and self.sampling:
            raise UserError(NO_COMPILED_SAMPLES)
        if self.engine == "compiled" and self.rescoring_samples:
            raise UserError("rescoring_samples belongs to FlowSeq, which the compiled engine does not run: use torch")
        if self.rerank:
            self.check_several()
        if self.rerank and self.rescoring_samples:
            raise UserError("rerank and rescoring_samples both order the candidates: keep one")
        return self


class MixedOptions(Options):
    """Two models that write one output: prefix and rest."""

    first_model: Path | None = Field(default=None, description="Mixed decoding: this model writes the first tokens.")
    first_tokens: int = Field(
        default=0, ge=0, le=1_000_000, description="How many tokens --first-model writes before --model completes."
    )

    @model_validator(mode="after")
    def _check_first(self) -> MixedOptions:
        if bool(self.first_tokens) != (self.first_model is not None):
            raise UserError("first_model writes the first first_tokens tokens: give both, or neither")
        return self


class DistillOptions(WritingOptions, DataOptions, TeacherOptions, WorkersOptions):
    """A data directory whose training targets a teacher wrote."""

    inputs = ("teacher", "data", "student_data", "penalty_file", "rerank", "prefix_file", "allowed_file")

    data: Path  # pyright: ignore
    teacher: Annotated[list[Path], OneOrMore]  # pyright: ignore
    student_data: Path | None = Field(
        default=None, description="Take the tokenizer of this data directory for the new one."
    )
    select: Literal["first", "bleu", "chrf"] = Field(
        default="first",
        description="Hypothesis taken: the teacher's first, or the most like the reference (interpolation).",
    )
    select_among: int = Field(
        default=0, ge=0, le=MOST_CANDIDATES, description="Select among this many of the n-best; 0: all."
    )
    shard_lines: int = Field(default=SHARD_LINES, ge=1, le=MOST, description="Lines decoded between two files.")

    @model_validator(mode="after")
    def _check_teacher(self) -> DistillOptions:
        if len(self.teacher) != 1:
            raise UserError(f"distill decodes with one teacher, but {len(self.teacher)} are given: name one")
        return self


class TranslateOptions(WritingOptions, ModelOptions, MixedOptions):
    """Standard input to standard output, line by line, in order."""

    without = ("n_best",)

    model: Path  # pyright: ignore
    trace: bool = Field(
        default=False, description="Show each iteration of a non-autoregressive model on standard error."
    )


class LoadOptions(TranslateOptions):
    """As `translate`, from Python."""

    without = ("trace",)
