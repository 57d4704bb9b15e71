"""The options of every verb, once: command line, recipes and Python read these same names, types and defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.errors import UserError, nearest
from seqdistill.metrics.scores import MetricOptions
from seqdistill.metrics.significance import NUM_SAMPLES, SEED

S = TypeVar("S", bound="Settings")

OneOrMore = BeforeValidator(lambda value: [value] if isinstance(value, str | Path) else value)
"""A list of which a single value may be given as it is."""


class Settings(BaseModel):
    """Options of one verb. A field's description is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: ClassVar[tuple[str, ...]] = ()
    """Fields that name directories or files: their content counts, not their path."""
    free: ClassVar[tuple[str, ...]] = ()
    """Fields that change speed, never the result."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """Fields that the command line takes without a name."""
    numbered: ClassVar[tuple[str, ...]] = ()
    """Fields of inputs whose only value is called by its field and its number, as stages recorded it from the start."""

    @classmethod
    def read(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
        """Checks and converts plain values.

        Args:
            where: named in errors, such as "recipe.toml: [train.teacher]".

        Raises:
            UserError: an unknown key (names the nearest valid one), a missing one, or a value of another type.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = []
            for problem in error.errors():
                key = ".".join(str(part) for part in problem["loc"]) or "options"
                if problem["type"] == "extra_forbidden":
                    problems.append(f"unknown key {key!r}; {nearest(key, list(cls.model_fields))}")
                elif problem["type"] == "missing":
                    problems.append(f"{key!r} is required: {cls.model_fields[key].description}")
                else:
                    problems.append(f"{key!r}: {problem['msg']}, but it is {problem['input']!r}")
            raise UserError(f"{where}: " + "; ".join(problems)) from None

    def given_inputs(self) -> Iterator[tuple[str, Path]]:
        """Each input that is given, by its field; several of one are numbered from 1, or go by their names."""
        for name in self.inputs:
            value = getattr(self, name)
            if isinstance(value, dict):
                yield from ((f"{name} {key}", path) for key, path in value.items())
            elif isinstance(value, list) and (len(value) > 1 or name in self.numbered):
                yield from ((f"{name} {number}", path) for number, path in enumerate(value, 1))
            elif isinstance(value, list):
                yield from ((name, path) for path in value)
            elif value is not None:
                yield name, Path(value)

    def of_result(self) -> dict[str, Any]:
        """The values that decide the result, as JSON: without input paths and without what only changes the speed."""
        return self.model_dump(mode="json", exclude={*self.inputs, *self.free})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The defaults of these values; those without one are left out."""
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in cls.model_fields.items()
            if not field.is_required() and name not in (*cls.inputs, *cls.free)
        }


class PrepareSettings(Settings):
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
    free = ("cache",)

    corpus: str | None = Field(None, description="A public source (see `seqdistill sources`) or hub:NAME.")
    languages: str | None = Field(
        None, description="Language pair of the corpus, as en-de (source first); several targets as en-de+fr."
    )
    source: Path | None = Field(None, description="Training text, source side: one sentence a line, plain or .gz.")
    target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list,
        description="Training text, target side, line by line with --source; given again, a source has several.",
    )
    table: Path | None = Field(None, description="Training text in one file: .tsv, .jsonl (also .gz) or .parquet.")
    valid_source: Path | None = Field(None, description="Validation text, source side.")
    valid_target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Validation text, target side; given again, a source has several."
    )
    valid_table: Path | None = Field(None, description="Validation text in one file.")
    test_source: Path | None = Field(None, description="Test text, source side.")
    test_target: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Test text, target side; given again, a source has several references."
    )
    test_table: Path | None = Field(None, description="Test text in one file.")
    source_column: str = Field("source", description="Column or key of the source in a table.")
    target_column: str = Field("target", description="Column or key of the target in a table.")
    valid_size: int = Field(0, ge=0, description="Hold out this many training pairs when no validation text is given.")
    one_target: bool = Field(False, description="Keep one target of every training source, drawn at random.")
    train_size: int = Field(0, ge=0, description="Draw this many of the training pairs at random; 0: all.")
    vocab_size: int = Field(8000, ge=6, description="Subword vocabulary, the five special symbols included.")
    tokenizer: Literal["bpe", "unigram"] = Field("bpe", description="Kind of SentencePiece model.")
    joint: bool = Field(True, description="One vocabulary for both sides; otherwise one each.")
    lowercase: bool = Field(False, description="Lower-case both sides.")
    tokenizer_from: Path | None = Field(None, description="Take the tokenizer of this data directory; trains none.")
    max_length: int | None = Field(
        None, ge=1, description="Drop training pairs with more words than this on a side; default 250, summaries more."
    )
    max_ratio: float | None = Field(
        None, gt=1, description="Drop pairs whose lengths differ by more than this factor; default 9, summaries more."
    )
    cut_source: int = Field(0, ge=0, description="Keep this many words of every source, before the filters; 0: all.")
    cut_target: int = Field(0, ge=0, description="Keep this many words of every training target; 0: all.")
    keep_duplicates: bool = Field(False, description="Keep training pairs that occurred before.")
    keep_copies: bool = Field(False, description="Keep training pairs whose target is the source.")
    cache: Path | None = Field(None, description="Folder of downloaded sources; default ~/.cache/seqdistill.")
    seed: int = Field(1, description="Seed of what is held out and of what is drawn.")


class TrainSettings(Settings):
    """A model trained on a data directory."""

    inputs = ("data", "init", "teacher")
    free = ("threads", "tensorboard", "device", "save_every", "keep", "log_every", "teacher_device")
    numbered = ("teacher",)

    data: Path = Field(description="Data directory, from `prepare` or `distill`.")
    model: str = Field(description="Model by name, such as transformer-base, sru, nat, inat or flowseq.")
    set: dict[str, Any] = Field(
        default_factory=dict, description="Change a value of the model's configuration: KEY=VALUE, may be repeated."
    )
    objective: str = Field(
        "nll",
        description="What is learned from: nll (the data's own targets), imitkd (roll-outs of the student, labelled by "
        "the teacher), dagger (rounds of roll-outs, kept); with +full: the teacher's whole distribution.",
    )
    teacher: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Trained teacher; given several times, their distributions are averaged."
    )
    init: Path | None = Field(None, description="Start from the weights of this trained model.")
    max_updates: int = Field(100_000, ge=1, description="Updates at most.")
    batch_tokens: int = Field(4096, ge=1, description="Tokens of a batch, padding included, on its longer side.")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients are added for one update.")
    learning_rate: float = Field(5e-4, gt=0, description="Highest learning rate.")
    warmup: int = Field(4000, ge=0, description="Updates of linear warm-up.")
    schedule: str = Field("inverse-sqrt", description="Learning rate after the warm-up.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Probability spread evenly over the vocabulary.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    clip_norm: float = Field(1.0, ge=0, description="Largest norm of a gradient; 0: no clipping.")
    precision: str = Field("auto", description="float32, bfloat16, or auto: bfloat16 where the device computes it.")
    validate_every: int = Field(1000, ge=1, description="Updates between validations.")
    metric: str = Field("bleu", description="What decides the best checkpoint: bleu, rouge1 or loss.")
    patience: int = Field(0, ge=0, description="Stop after this many validations without a better one; 0: never.")
    save_every: int = Field(0, ge=0, description="Updates between checkpoints besides validations; 0: none.")
    keep: int = Field(2, ge=1, description="Newest checkpoints kept; the final model's are kept besides.")
    average: str = Field("best", description="Final model: mean of the best or of the last validated checkpoints.")
    average_count: int = Field(1, ge=1, description="Checkpoints averaged; 1 takes the best (or last) one.")
    log_every: int = Field(50, ge=1, description="Updates between rows of the log.")
    seed: int = Field(1, description="Seed of weights, batches and dropout.")
    device: str = Field("auto", description="cpu, cuda, cuda:1, or auto.")
    threads: int = Field(0, ge=0, description="CPU threads; 0: one a core.")
    tensorboard: bool = Field(True, description="Write TensorBoard event files.")
    teacher_device: str = Field("auto", description="Where the teacher runs; auto: where the student does.")
    teacher_precision: str = Field("auto", description="As --precision, for the teacher.")
    divergence: str = Field("cross-entropy", description="+full: cross-entropy, forward-kl, reverse-kl or js.")
    skew: float = Field(0.5, ge=0, le=1, description="+full, js: near 0 as forward-kl, near 1 as reverse-kl.")
    temperature: float = Field(1.0, gt=0, description="+full: both models' logits are divided by it.")
    teacher_top_k: int = Field(0, ge=0, description="+full: the teacher's k best tokens and the rest as one; 0: all.")
    mixing: str = Field("exponential", description="How the share of initial targets falls with the updates.")
    mixing_rate: float = Field(0.005, description="Share of initial targets at the last update.")
    pool: int = Field(4, description="Updates whose roll-outs are written at once.")
    data_labels: Literal["teacher", "data"] = Field(
        "teacher", description="imitkd: labels of targets that no roll-out replaced."
    )
    dagger_rounds: int = Field(5, description="dagger: rounds of roll-outs.")
    rollout_beam: int = Field(1, ge=1, description="Beam of the roll-outs; 1: greedy, or sampling.")
    rollout_sampling: bool = Field(False, description="Sample the roll-outs.")
    rollout_top_k: int = Field(0, ge=0, description="Sample among the k most probable tokens; 0: all.")
    rollout_top_p: float = Field(1.0, gt=0, le=1, description="Sample among the tokens that hold this probability.")
    rollout_temperature: float = Field(1.0, gt=0, description="Sharper below 1, flatter above.")
    rollout_max_length: int = Field(256, ge=1, description="Most tokens of a roll-out.")
    rollout_max_ratio: float = Field(2.0, gt=0, description="The same as a factor of the source's tokens, plus 10.")


class DecodingSettings(Settings):
    """How text is decoded; shared by distill, translate and evaluate."""

    beam: int | None = Field(
        None,
        ge=1,
        description="Beam size; 1: greedy. Of a parallel model: lengths tried. Default: 5; 1 when sampling, or of a "
        "model that inserts words, and so finds the length itself.",
    )
    length_penalty: float = Field(1.0, description="Scores are divided by length to this power.")
    max_length: int = Field(256, ge=1, description="Most tokens of an output.")
    max_ratio: float = Field(3.0, gt=0, description="Most tokens of an output, as a factor of the source's, plus 10.")
    sampling: bool = Field(False, description="Sample instead of searching.")
    top_k: int = Field(0, ge=0, description="Sample among the k most probable tokens; 0: all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Sample among the tokens that hold this probability.")
    temperature: float = Field(1.0, gt=0, description="Sharper below 1, flatter above.")
    seed: int = Field(1, description="Seed of the sampling.")
    expert: int | None = Field(
        None, description="Of a mixture, the expert that writes, from 1; default: the best on validation data."
    )
    iterations: int | None = Field(None, ge=1, description="Most iterations of a parallel model; default: its own.")
    penalty: float = Field(0.0, description="Against inserting nothing, for a model that inserts words; see `tune`.")
    penalty_file: Path | None = Field(None, description="Take the penalty that `tune` found for this model.")
    rescoring_samples: int = Field(
        0, ge=0, description="Samples that FlowSeq scores its lengths by (importance-weighted decoding); 0: none."
    )
    rerank: Path | None = Field(None, description="Trained model that orders the hypotheses by its own score of them.")
    engine: Literal["native", "ctranslate2"] = Field("native", description="What computes: our decoder or CTranslate2.")
    compute_type: str = Field("auto", description="Precision of CTranslate2: float32, int8, ...; auto: int8.")
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


class DistillSettings(DecodingSettings):
    """A data directory whose training targets a teacher wrote."""

    inputs = ("teacher", "data", "student_data", "penalty_file", "rerank")
    free = ("workers", "device")

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


class ScoringSettings(Settings):
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


class EvaluateSettings(ScoringSettings, DecodingSettings):
    """Outputs of a model, scored against references."""

    inputs = ("model", "first_model", "data", "source", "reference", "penalty_file", "rerank", "beer_home")
    free = ("device",)

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
        None, ge=0, description="Sentences whose iterations are kept for the report; default 3 of a parallel model."
    )


class TuneSettings(Settings):
    """The penalty on inserting nothing that gives a model its best validation BLEU."""

    inputs = ("model", "data")
    free = ("device",)

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


class TranslateSettings(DecodingSettings):
    """Standard input to standard output, line by line, in order."""

    model: Path = Field(description="Trained model, from `train`.")
    first_model: Path | None = Field(None, description="Mixed decoding: this model writes the first tokens.")
    first_tokens: int = Field(0, ge=0, description="How many tokens --first-model writes before --model completes.")
    trace: bool = Field(False, description="Show each iteration of a parallel model on standard error.")


class CompareSettings(ScoringSettings):
    """Two outputs of the same text: does the difference hold?"""

    reference: Path = Field(description="References, one a line.")
    num_references: int = Field(1, ge=1, description="References on each line, with tabs between them.")
    source: Path | None = Field(None, description="Sources, one a line, which the metric comet needs.")
    samples: int = Field(NUM_SAMPLES, ge=40, description="Bootstrap samples.")
    seed: int = Field(SEED, description="Seed of the resampling; the default is sacreBLEU's.")


class MeasureSettings(Settings):
    """Measures of one or several parallel corpora: complexity, faithfulness, reordering and more."""

    inputs = ("corpora", "real", "source")
    free = ("workers", "scratch")
    arguments = ("corpora",)

    corpora: list[Path] = Field(
        description="What to measure: data directories, of which the training pairs count, or tables (.tsv, .jsonl, "
        ".parquet); with --source files of targets."
    )
    real: Path | None = Field(None, description="The corpus that the others were distilled from, line by line.")
    source: Path | None = Field(None, description="Sources of all corpora, a line each; the corpora are targets then.")
    source_column: str = Field("source", description="Column or key of the source in a table.")
    target_column: str = Field("target", description="Column or key of the target in a table.")
    source_language: str = Field("", description="Two-letter code, which chooses the tokeniser of words; none: en.")
    target_language: str = Field("", description="The same of the target side.")
    source_tokenizer: str | None = Field(None, description="moses, 13a, zh, char, or none: as words stand in the text.")
    target_tokenizer: str | None = Field(None, description="The same of the target side.")
    lowercase: bool = Field(False, description="Drop case; done anyway if a data directory was prepared so.")
    iterations: int = Field(5, description="Iterations of the word aligner.")
    p0: float = Field(0.08, description="Aligner: probability that a word is generated by none of the other side.")
    tension: float = Field(4.0, description="Aligner: how strongly links keep to the diagonal.")
    fit_tension: bool = Field(False, description="Aligner: fit the tension to the text.")
    alpha: float = Field(0.01, description="Aligner: of variational Bayes for links; 0: maximum likelihood.")
    table_alpha: float = Field(0.0, description="The same for the lexical table, of which C and F are.")
    smoothing: float = Field(0.01, gt=0, lt=1, description="Faithfulness: share of the common background on each side.")
    reordering_links: str = Field("intersection", description="Links of which reordering is measured.")
    links: list[str] = Field(
        ["grow-diagonal-final-and"], description="Symmetrised links to write, besides forward and reverse ones."
    )
    text_table: bool = Field(False, description="Write the lexical table as text too (table.tsv.gz).")
    student: list[str] = Field([], description="Advise for this kind of student only, such as nat; default all.")
    sentence: int = Field(0, ge=0, description="Line to draw; 0: the one whose order changes most.")
    samples: int = Field(1000, description="Resamples of sentences for intervals.")
    seed: int = Field(12345, description="Seed of the resampling.")
    workers: int = Field(0, ge=0, description="Processes that tokenise, threads that align; 0: one a core.")
    scratch: Path | None = Field(None, description="Folder of the aligner's temporary file; default the system's.")


class DecisionTheorySettings(Settings):
    """The decision theory study on random HMMs; `seqdistill.studies.decision_theory.Design` says what each value is."""

    free = ("workers",)

    a: list[float] = Field(
        [2.0, 4.0, 8.0], description="Transition parameters are uniform on (0, a]; give it again for several a."
    )
    b: list[float] = Field(
        [2.0, 4.0, 8.0], description="Emission parameters are uniform on (0, b]; every a is combined with every b."
    )
    normalise: str = Field(
        "softmax", description="How parameters become probabilities: softmax, or sum, which cancels a and b."
    )
    hmms: int = Field(50, description="Random HMMs for each pair of a and b.")
    states: int = Field(5, description="States of an HMM, the target's vocabulary.")
    symbols: int = Field(10, description="Symbols that it emits, the source's vocabulary.")
    length: int = Field(6, description="Symbols of every sequence.")
    train_size: int = Field(20_000, description="Training pairs of each HMM.")
    test_size: int = Field(20_000, description="Held-out pairs of each HMM.")
    embedding: int = Field(8, description="Width of the BiLSTM's embeddings.")
    hidden: int = Field(16, description="Width of the BiLSTM in each direction.")
    updates: int = Field(300, description="Updates of each BiLSTM.")
    batch: int = Field(256, description="Sequences of an update.")
    learning_rate: float = Field(0.02, description="Learning rate of the first update; it falls linearly towards 0.")
    seed: int = Field(1, description="Seed of HMMs, pairs, weights and batches.")
    workers: int = Field(0, ge=0, description="HMMs studied side by side, on one core each; 0: one a core.")


class ModesSettings(Settings):
    """The modes study: which of the languages it was trained on a model writes, and what its data are like."""

    inputs = ("output", "language", "corpus")
    free = ("workers",)

    output: dict[str, Path] = Field(
        description="Outputs of a system: NAME=directory of an evaluation, or a text file; may be repeated."
    )
    language: dict[str, Path] = Field(
        description="Text of a language: NAME=file, or a data directory, whose training targets are taken; repeated."
    )
    corpus: dict[str, Path] = Field(
        default_factory=dict, description="A corpus whose complexity is measured: NAME=data directory; may be repeated."
    )
    tokenizer: str = Field("13a", description="What words are: 13a, moses, zh, char or none (between blanks).")
    lowercase: bool = Field(False, description="Ignore case.")
    smoothing: float = Field(0.01, gt=0, description="Added to the count of every word in every language.")
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Posterior of one language above which an output is in that language alone; "
        "default: halfway between uniform and certain.",
    )
    workers: int = Field(0, ge=0, description="Threads of the word aligner; 0: one a core.")


class ReportSettings(Settings):
    """One HTML page about the stages in a directory."""

    title: str = Field("Distillation report", description="Heading of the page.")
    intro: str = Field("", description="A paragraph under the heading.")
