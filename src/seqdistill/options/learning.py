"""Options of `prepare` and `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from seqdistill.options.base import OneOrMore, Options


class PrepareOptions(Options):
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
    tokenizer_from: Path | None = Field(
        None,
        description="Train none: take that of a data directory, or of a folder with Marian's files or tokenizer.json.",
    )
    from_language: str = Field("", description="Code of the sources' language in a tokenizer of many, as eng_Latn.")
    to_language: str = Field("", description="Code of the targets' language in a tokenizer of many, as deu_Latn.")
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


class TrainOptions(Options):
    """A model trained on a data directory."""

    inputs = ("data", "init", "teacher", "decay_from")

    data: Path = Field(description="Data directory, from `prepare` or `distill`.")
    model: str = Field(
        description="Model by name, such as transformer-base, sru or mixture; non-autoregressive: nat, inat, cmlm, "
        "inst, levt or flowseq.",
    )
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
    max_length: int | None = Field(
        None, ge=2, description="Leave out pairs with more tokens than this on a side, EOS included."
    )
    accumulate: int = Field(1, ge=1, description="Batches whose gradients are added for one update.")
    learning_rate: float = Field(5e-4, gt=0, description="Highest learning rate.")
    warmup: int = Field(4000, ge=0, description="Updates of linear warm-up.")
    schedule: str = Field(
        "inverse-sqrt",
        description="Learning rate after the warm-up: inverse-sqrt, constant, wsd (constant, then a decay), linear or "
        "cosine. A training by one of the first three can be given more updates later.",
    )
    decay: float = Field(0.1, gt=0, lt=1, description="wsd: share of the updates over which the rate falls to 0.")
    decay_from: Path | None = Field(
        None,
        description="wsd: begin the decay at a checkpoint of another training by constant or wsd (its directory, or "
        "one of its checkpoints); --max-updates counts that training's updates too.",
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Probability spread evenly over the vocabulary.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    clip_norm: float = Field(1.0, ge=0, description="Largest norm of a gradient; 0: no clipping.")
    precision: str = Field(
        "auto",
        description="float32 (the same weights on every machine), bfloat16, or auto: on a GPU bfloat16, on a CPU that "
        "computes it the faster one, timed before the first update.",
    )
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
    threads: int = Field(
        0, ge=0, description="CPU threads; 0: one a core. Another number changes the last bits of the weights."
    )
    tensorboard: bool = Field(True, description="Write TensorBoard event files.")
    teacher_device: str = Field("auto", description="Where the teacher runs; auto: where the student does.")
    teacher_precision: str = Field(
        "auto", description="float32, bfloat16, or auto: bfloat16 on a GPU that computes it; for the teacher."
    )
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
