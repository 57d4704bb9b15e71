"""The engine that a verb's decoding settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from seqdistill.decoding.corpus import Engine, TorchEngine, TracingEngine
from seqdistill.decoding.guided import OPTIONS, Guided, read_guide
from seqdistill.decoding.mixed import Mixed
from seqdistill.decoding.penalty import read_penalty
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.errors import UserError
from seqdistill.exported import is_exported
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Model
from seqdistill.models.saved import LoadedModel, family_of, load_model
from seqdistill.native import library
from seqdistill.options import (
    ComputingOptions,
    DecodingOptions,
    DistillOptions,
    EvaluateOptions,
    LoadOptions,
    TranslateOptions,
    WritingOptions,
)
from seqdistill.options.decoding import NO_COMPILED_SAMPLES
from seqdistill.runtime.compiled_engine import CompiledEngine, exported_engine
from seqdistill.runtime.engines import create_engine, load_engine, torch_precision
from seqdistill.runtime.exporting.packing import Precision
from seqdistill.text.languages import Languages
from seqdistill.training.optim import choose_device
from seqdistill.vocabulary.vocabularies import Vocabularies

OWN_THREADS = ("compiled", "ctranslate2")
"""Engines that run on the CPU with threads of their own, in one process."""


def engine_options(settings: ComputingOptions, engine: str) -> dict[str, Any]:
    """What `create_engine` takes besides the engine's name and the model.

    Raises:
        UserError: an option that the engine does not have.
    """
    if engine in OWN_THREADS:
        if settings.device not in ("auto", "cpu"):
            raise UserError(f"{engine} runs on the CPU here; leave out --device {settings.device}, or --engine")
        return {"compute_type": settings.compute_type}
    device = choose_device(settings.device)
    torch_precision(settings.compute_type, device)  # now, not when the engine is loaded
    return {"device": str(device), "compute_type": settings.compute_type}


def decoding_options(settings: WritingOptions, engine: Engine) -> DecodingOptions:
    """What decoders read: with the beam that the engine's model has by default, and the penalty of the penalty file.

    Raises:
        UserError: a penalty file of another model; reranking of one that has one candidate.
    """
    inserts = engine.traits.inserts
    if settings.rerank and inserts:
        raise UserError(
            "a model that inserts words finds the length by itself and has one candidate a sentence, so there is "
            "nothing to rerank: leave rerank out"
        )
    options = settings.for_model(inserts=inserts)
    if settings.penalty_file is None:
        return options
    penalty = read_penalty(settings.penalty_file, fingerprint=engine.fingerprint["model"])
    return options.model_copy(update={"penalty": penalty})


class Opened(NamedTuple):
    """An engine and what is known of the model it runs, read once. Of mixed decoding the second model."""

    engine: Engine
    tokenizers: Vocabularies
    languages: Languages
    parameters: int
    model: Model | None
    """For what engines do not do, such as a perplexity; None of an exported model."""
    note: str = ""
    """Why `auto` did not take an engine that would have been faster."""


def open_engine(settings: EvaluateOptions | TranslateOptions, *, lines: int | None = None) -> Opened:
    """Loads the model, or the two models of mixed decoding, into the engine, and puts around it what is asked for.

    Args:
        lines: how many will be decoded, where that is known.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies; see
            `Guided` and `RerankingEngine`.
    """
    if is_exported(settings.model):
        exported = _exported(settings.model, settings)
        engine = _surrounded(exported, exported.tokenizers, settings, lines)
        parameters = exported.student.exported.description["parameters"]
        return Opened(engine, exported.tokenizers, exported.languages, parameters, None)
    loaded = load_model(settings.model, expert=settings.expert)
    if settings.first_model is None:
        # What `load` gives to Python samples, scores and traces with every call, as torch alone does.
        free = isinstance(settings, TranslateOptions) and not isinstance(settings, LoadOptions)
        name, note = _fastest(loaded, settings) if free else (settings.engine_of_record, "")
        options = engine_options(settings, name)
        if settings.engine == "auto" and name == "compiled" and settings.compute_type == "auto":
            options["compute_type"] = "float32"  # so that it writes what every other engine of ours writes
        engine = create_engine(name, loaded, **options)
    else:
        engine, note = _mixed(settings.first_model, loaded, settings), ""
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    surrounded = _surrounded(engine, loaded.tokenizers, settings, lines)
    return Opened(surrounded, loaded.tokenizers, loaded.languages, parameters, loaded.model, note)


def open_teacher(settings: DistillOptions, *, lines: int, **options: Any) -> Engine:
    """The same for the teacher of `distill`; picklable with its arguments.

    Args:
        lines: how many will be decoded.
        options: of the engine.
    """
    (teacher,) = settings.teacher
    if is_exported(teacher):
        exported = _exported(teacher, settings, workers=options.get("workers", 0))
        return _surrounded(exported, exported.tokenizers, settings, lines)
    loaded = load_model(teacher, expert=settings.expert)
    engine = create_engine(settings.engine_of_record, loaded, **options)
    return _surrounded(engine, loaded.tokenizers, settings, lines)


def described(engine: Engine) -> str:
    """An engine in a few words, such as `compiled int8`."""
    found = engine.fingerprint
    return " ".join(str(found[name]) for name in ("engine", "precision") if name in found)


def _exported(directory: Path, settings: WritingOptions, **options: Any) -> CompiledEngine:
    """The compiled engine with an exported model; raises UserError for what is asked of other engines or models."""
    if settings.engine not in ("auto", "compiled"):
        raise UserError(
            f"{directory}: is an exported model, which the engine compiled runs: leave out --engine {settings.engine}, "
            "or give the trained model"
        )
    if settings.expert is not None:
        raise UserError(f"{directory}: is an exported model, whose expert was chosen then: leave out --expert")
    if getattr(settings, "first_model", None) is not None:
        raise UserError(f"mixed decoding takes two trained models, but {directory} is an exported one")
    if settings.sampling:
        raise UserError(NO_COMPILED_SAMPLES)
    return exported_engine(directory, **engine_options(settings, "compiled"), **options)


def _fastest(loaded: LoadedModel, settings: EvaluateOptions | TranslateOptions) -> tuple[str, str]:
    """The engine asked for; of `auto` the compiled one where it runs this model, these options, and here at all.

    With it comes why there is no compiled engine, where it could have run them.
    """
    if settings.engine != "auto":
        return settings.engine, ""
    runs = "compiled" in FAMILIES[family_of(loaded.model)].exporters
    computes = settings.compute_type in ("auto", *get_args(Precision))
    on_cpu = choose_device(settings.device).type == "cpu"
    more = settings.sampling or settings.rescoring_samples or getattr(settings, "trace", False)
    if not (runs and computes and on_cpu) or more:
        return "torch", ""
    missing = library.missing()
    return "torch" if missing else "compiled", missing or ""


def tracing(engine: Engine) -> TracingEngine:
    """The opened engine, where iterations are to be shown.

    Raises:
        UserError: it has none.
    """
    if not engine.traits.traces:
        raise UserError(
            f"a trace shows the iterations of a non-autoregressive model, but {engine.fingerprint['engine']} runs none "
            "here: leave the trace out, or give such a model to --engine torch"
        )
    return cast(TracingEngine, engine)


def _surrounded(engine: Engine, tokenizers: Vocabularies, settings: WritingOptions, lines: int | None) -> Engine:
    """With what is told of each line, and the teacher that reranks, if there are any."""
    guide = read_guide(
        tokenizers.target,
        prefix=settings.prefix,
        prefix_file=settings.prefix_file,
        allowed_file=settings.allowed_file,
    )
    if any(guide):
        files = {"prefixes": settings.prefix_file, "allowed": settings.allowed_file}
        names = {field: f"{OPTIONS[field]} {path}" for field, path in files.items()}
        engine = Guided(engine, guide, names=OPTIONS | names)
        if lines is not None:
            engine.check_lines(lines)
    if settings.rerank is None:
        return engine
    if is_exported(settings.rerank):
        return RerankingEngine(engine, exported_engine(settings.rerank))
    device = "cpu" if settings.engine in OWN_THREADS else str(choose_device(settings.device))
    return RerankingEngine(engine, load_engine("torch", settings.rerank, device=device))


def _mixed(first_model: Path, second: LoadedModel, settings: EvaluateOptions | TranslateOptions) -> Engine:
    if settings.engine not in ("auto", "torch"):
        raise UserError(f"mixed decoding runs on our own decoder; leave out --engine {settings.engine}")
    first = load_model(first_model)
    if first.tokenizers.fingerprint != second.tokenizers.fingerprint:
        raise UserError(
            f"{first_model} and {settings.model} have different tokenizers; mixed decoding needs two models trained on "
            "one data directory (or on one distilled from it)"
        )
    pair = Mixed(first.model, second.model, first_tokens=settings.first_tokens)
    device = choose_device(settings.device)
    return TorchEngine(
        pair,
        second.tokenizers,
        device=device,
        precision=torch_precision(settings.compute_type, device),
        fingerprint=f"{first.fingerprint}+{second.fingerprint}",
    )
