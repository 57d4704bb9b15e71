"""The engine that a verb's decoding settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

from seqdistill.decoding.corpus import Engine, TorchEngine, TracingEngine
from seqdistill.decoding.guided import OPTIONS, Guided, read_guide
from seqdistill.decoding.mixed import Mixed
from seqdistill.decoding.penalty import read_penalty
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.errors import UserError
from seqdistill.models.saved import LoadedModel, load_model
from seqdistill.options import DecodingOptions, DistillOptions, EvaluateOptions, TranslateOptions, WritingOptions
from seqdistill.runtime.engines import create_engine, load_engine, torch_precision
from seqdistill.training.optim import choose_device


def engine_options(settings: WritingOptions) -> dict[str, Any]:
    """What `create_engine` takes besides the engine's name and the model.

    Raises:
        UserError: an option that the engine asked for does not have.
    """
    if settings.engine == "ctranslate2":
        if settings.device not in ("auto", "cpu"):
            raise UserError(f"CTranslate2 runs on the CPU here; leave out --device {settings.device}, or --engine")
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
    """An engine and the model it runs, read once."""

    engine: Engine
    loaded: LoadedModel
    """For what engines do not do, such as a perplexity. Of mixed decoding the second model."""


def open_engine(settings: EvaluateOptions | TranslateOptions, *, lines: int | None = None) -> Opened:
    """Loads the model, or the two models of mixed decoding, into the engine, and puts around it what is asked for.

    Args:
        lines: how many will be decoded, where that is known.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies; see
            `Guided` and `RerankingEngine`.
    """
    loaded = load_model(settings.model, expert=settings.expert)
    if settings.first_model is None:
        engine = create_engine(settings.engine, loaded, **engine_options(settings))
    else:
        engine = _mixed(settings.first_model, loaded, settings)
    return Opened(_surrounded(engine, loaded, settings, lines), loaded)


def open_teacher(settings: DistillOptions, *, lines: int, **options: Any) -> Engine:
    """The same for the teacher of `distill`; picklable with its arguments.

    Args:
        lines: how many will be decoded.
        options: of the engine.
    """
    loaded = load_model(settings.teacher[0], expert=settings.expert)
    return _surrounded(create_engine(settings.engine, loaded, **options), loaded, settings, lines)


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


def _surrounded(engine: Engine, loaded: LoadedModel, settings: WritingOptions, lines: int | None) -> Engine:
    """With what is told of each line, and the teacher that reranks, if there are any."""
    guide = read_guide(
        loaded.tokenizers.target,
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
    device = "cpu" if settings.engine == "ctranslate2" else str(choose_device(settings.device))
    return RerankingEngine(engine, load_engine("torch", settings.rerank, device=device))


def _mixed(first_model: Path, second: LoadedModel, settings: EvaluateOptions | TranslateOptions) -> Engine:
    if settings.engine != "torch":
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
