"""The engine that a verb's decoding settings ask for.

Nothing here imports torch before a trained model is opened (`trained`): one line through an exported model takes less
time than that import.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from seqdistill.decoding.engine import Engine, TracingEngine
from seqdistill.decoding.guided import OPTIONS, Guided, read_guide
from seqdistill.decoding.penalty import read_penalty
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.errors import UserError
from seqdistill.exported import exported_for, is_exported
from seqdistill.options import (
    ComputingOptions,
    DecodingOptions,
    DistillOptions,
    EvaluateOptions,
    TranslateOptions,
    WritingOptions,
)
from seqdistill.options.decoding import NO_COMPILED_SAMPLES, NO_SAMPLES
from seqdistill.runtime.converted import open_converted
from seqdistill.runtime.exported_engine import CompiledEngine, exported_engine
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies

if TYPE_CHECKING:
    from seqdistill.models.interface import Model

OWN_THREADS = ("compiled", "ctranslate2")
"""Engines that run on the CPU with threads of their own, in one process."""


def options_of_cpu(settings: ComputingOptions, engine: str) -> dict[str, Any]:
    """What one of OWN_THREADS takes besides its model; raises UserError for another device."""
    if settings.device not in ("auto", "cpu"):
        raise UserError(f"{engine} runs on the CPU here; leave out --device {settings.device}, or --engine")
    return {"compute_type": settings.compute_type}


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


def open_engine(
    settings: EvaluateOptions | TranslateOptions, *, lines: int | None = None, scored: bool = True
) -> Opened:
    """Loads the model, or the two models of mixed decoding, into the engine, and puts around it what is asked for.

    Args:
        lines: how many will be decoded, where that is known.
        scored: whether somebody reads scores, as `CompiledEngine.scored`.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies; see
            `Guided` and `RerankingEngine`.
    """
    if exported_for(settings.model):
        opened = _exported(settings.model, settings)
    else:
        from seqdistill.verbs.trained import open_trained

        engine, loaded, note = open_trained(settings)
        parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
        opened = Opened(engine, loaded.tokenizers, loaded.languages, parameters, loaded.model, note)
    if isinstance(opened.engine, CompiledEngine):
        opened.engine.scored = scored
    return opened._replace(engine=_surrounded(opened.engine, opened.tokenizers, settings, lines))


def open_teacher(settings: DistillOptions, *, lines: int, **options: Any) -> Engine:
    """The same for the teacher of `distill`; picklable with its arguments.

    Args:
        lines: how many will be decoded.
        options: of the engine.
    """
    (teacher,) = settings.teacher
    if exported_for(teacher):
        exported = _exported(teacher, settings, workers=options.get("workers", 0))
        return _surrounded(exported.engine, exported.tokenizers, settings, lines)
    from seqdistill.verbs.trained import open_trained_teacher

    engine, loaded, _ = open_trained_teacher(settings, **options)
    return _surrounded(engine, loaded.tokenizers, settings, lines)


def _exported(directory: Path, settings: WritingOptions, **options: Any) -> Opened:
    """An exported model in its engine; raises UserError for what is asked of other engines or models."""
    name = exported_for(directory)
    assert name is not None, f"{directory} is no exported model"
    if settings.engine not in ("auto", name):
        raise UserError(
            f"{directory}: is an exported model, which the engine {name} runs: leave out --engine {settings.engine}, "
            "or give the trained model"
        )
    if settings.expert is not None:
        raise UserError(f"{directory}: is an exported model, whose expert was chosen then: leave out --expert")
    if getattr(settings, "first_model", None) is not None:
        raise UserError(f"mixed decoding takes two trained models, but {directory} is an exported one")
    if settings.sampling:
        raise UserError(NO_COMPILED_SAMPLES if name == "compiled" else NO_SAMPLES)
    options |= options_of_cpu(settings, name)
    if name == "compiled":
        student = exported_engine(directory, **options)
        return Opened(student, student.tokenizers, student.languages, student.parameters, None)
    from seqdistill.runtime.ctranslate2_engine import converted_engine

    found = open_converted(directory)
    engine = converted_engine(found, **options)
    return Opened(engine, found.tokenizers, found.languages, found.parameters, None)


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
    if exported_for(settings.rerank):
        from seqdistill.runtime.ctranslate2_engine import converted_engine

        return RerankingEngine(engine, converted_engine(open_converted(settings.rerank)))
    from seqdistill.verbs.trained import reranker

    return RerankingEngine(engine, reranker(settings.rerank, settings))
