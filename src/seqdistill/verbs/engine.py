"""The engine that a verb's decoding settings ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from seqdistill.decoding.corpus import Engine, TorchEngine, TracingEngine
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.decoding.mixed import Mixed
from seqdistill.decoding.penalty import read_penalty
from seqdistill.decoding.rerank import RerankingEngine, check_candidates
from seqdistill.errors import UserError
from seqdistill.models.saved import load_model, saved_family
from seqdistill.options import DecodingSettings, EvaluateOptions, TranslateOptions
from seqdistill.runtime.engines import load_engine, torch_precision
from seqdistill.training.optim import choose_device


def engine_options(settings: DecodingSettings) -> dict[str, Any]:
    """What `load_engine` takes besides the engine's name and the model.

    Raises:
        UserError: an option that the engine asked for does not have.
    """
    expert = {} if settings.expert is None else {"expert": settings.expert}
    if settings.engine == "ctranslate2":
        if settings.device not in ("auto", "cpu"):
            raise UserError(f"CTranslate2 runs on the CPU here; leave out --device {settings.device}, or --engine")
        return expert | {"compute_type": settings.compute_type}
    device = choose_device(settings.device)
    torch_precision(settings.compute_type, device)  # now, not when the engine is loaded
    return expert | {"device": str(device), "compute_type": settings.compute_type}


def check_decoding(settings: DecodingSettings, *, n_best: int = 1) -> None:
    """Raises UserError for options of decoding that exclude each other, or that the engine does not have."""
    options = settings.options(n_best=n_best)
    if settings.penalty and settings.penalty_file:
        raise UserError("--penalty and --penalty-file both give the penalty; keep one")
    if settings.engine == "ctranslate2":
        for name in ("iterations", "penalty", "penalty_file", "rescoring_samples"):
            if value := getattr(settings, name):
                raise UserError(
                    f"{name} {value} is for non-autoregressive models, which CTranslate2 does not run: leave out "
                    "one of the two"
                )
    if settings.rerank:
        check_candidates(options)
        if settings.rescoring_samples:
            raise UserError("rerank and rescoring_samples both order the candidates: keep one")


def decoding_options(settings: DecodingSettings, model: Path, *, n_best: int = 1) -> DecodingOptions:
    """What decoders read: with the beam that the model has by default, and the penalty of the penalty file.

    Raises:
        UserError: as `check_decoding`; a penalty file of another model; reranking of one that has one candidate.
    """
    inserts = saved_family(model).traits.inserts
    if settings.rerank and inserts:
        raise UserError(
            f"{model}: a model that inserts words finds the length by itself and has one candidate a sentence, so "
            "there is nothing to rerank: leave rerank out"
        )
    check_decoding(settings, n_best=n_best)
    options = settings.options(n_best=n_best, inserts=inserts)
    if settings.penalty_file is None:
        return options
    return replace(options, penalty=read_penalty(settings.penalty_file, fingerprint=load_model(model).fingerprint))


def open_engine(settings: EvaluateOptions | TranslateOptions) -> Engine:
    """Loads the model, or the two models of mixed decoding, into the engine; a teacher that reranks around it.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies.
    """
    if settings.first_model is None:
        if settings.first_tokens:
            raise UserError("--first-tokens says how many tokens --first-model writes; give that model too")
        return load_decoder(settings.engine, settings.model, rerank=settings.rerank, **engine_options(settings))
    return _reranked(_mixed(settings.first_model, settings), settings.rerank, str(choose_device(settings.device)))


def tracing(engine: Engine, settings: EvaluateOptions | TranslateOptions) -> TracingEngine:
    """The opened engine, where iterations are to be shown.

    Raises:
        UserError: an engine that has none.
    """
    if settings.engine != "torch":
        raise UserError(
            f"a trace shows the iterations of a non-autoregressive model, which {settings.engine} does not run: leave "
            "out one of the two"
        )
    return cast(TracingEngine, engine)


def load_decoder(engine: str, model: Path, *, rerank: Path | None, **options: Any) -> Engine:
    """An engine by name and, around it, the teacher that reranks, if there is one; picklable with its arguments.

    Args:
        options: those of the engine.
    """
    return _reranked(load_engine(engine, model, **options), rerank, options.get("device", "cpu"))


def _reranked(engine: Engine, teacher: Path | None, device: str) -> Engine:
    if teacher is None:
        return engine
    return RerankingEngine(engine, load_engine("torch", teacher, device=device))


def _mixed(first_model: Path, settings: EvaluateOptions | TranslateOptions) -> Engine:
    if settings.engine != "torch":
        raise UserError(f"mixed decoding runs on our own decoder; leave out --engine {settings.engine}")
    first, second = load_model(first_model), load_model(settings.model, expert=settings.expert)
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
