"""The engine that decoding settings ask for, of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, get_args

from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.engine import Engine
from seqdistill.decoding.mixed import Mixed
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES
from seqdistill.models.saved import LoadedModel, family_of, load_model
from seqdistill.native import library
from seqdistill.options import (
    ComputingOptions,
    DistillOptions,
    EvaluateOptions,
    LoadOptions,
    TranslateOptions,
    WritingOptions,
)
from seqdistill.runtime.engines import create_engine, torch_precision
from seqdistill.runtime.exporting.packing import Precision
from seqdistill.training.optim import choose_device
from seqdistill.verbs.engine import OWN_THREADS, options_of_cpu


class Trained(NamedTuple):
    """An engine with a trained model."""

    engine: Engine
    loaded: LoadedModel
    note: str = ""
    """As `engine.Opened.note`."""


def engine_options(settings: ComputingOptions, engine: str) -> dict[str, Any]:
    """What `create_engine` takes besides the engine's name and the model.

    Raises:
        UserError: an option that the engine does not have.
    """
    if engine in OWN_THREADS:
        return options_of_cpu(settings, engine)
    device = choose_device(settings.device)
    torch_precision(settings.compute_type, device)  # now, not when the engine is loaded
    return {"device": str(device), "compute_type": settings.compute_type}


def open_trained(settings: EvaluateOptions | TranslateOptions) -> Trained:
    """Loads the model, or the two of mixed decoding, into the engine asked for; raises as `engine.open_engine`."""
    loaded, note = load_model(settings.model, expert=settings.expert), ""
    if settings.first_model is not None:
        engine = _mixed(settings.first_model, loaded, settings)
    elif settings.engine == "auto" and isinstance(settings, TranslateOptions) and not isinstance(settings, LoadOptions):
        name, compute_type, note = _fastest(loaded, settings)
        engine = create_engine(name, loaded, **engine_options(settings, name) | {"compute_type": compute_type})
    else:
        # What `load` gives to Python samples, scores and traces with every call, as torch alone does.
        name = settings.engine_of_record
        engine = create_engine(name, loaded, **engine_options(settings, name))
    return Trained(engine, loaded, note)


def open_trained_teacher(settings: DistillOptions, **options: Any) -> Trained:
    """The same for the teacher of `distill`, with these options of the engine."""
    (teacher,) = settings.teacher
    loaded = load_model(teacher, expert=settings.expert)
    return Trained(create_engine(settings.engine_of_record, loaded, **options), loaded)


class _Choice(NamedTuple):
    """What `auto` stands for."""

    engine: str
    compute_type: str
    note: str = ""
    """Why it is not the compiled engine, where that would run the model with these options."""


def _fastest(loaded: LoadedModel, settings: TranslateOptions) -> _Choice:
    """The fastest engine that runs this model with these options and writes what torch writes, in the precision asked
    for: the compiled one; where it is not built CTranslate2 for greedy decoding, as its beam search differs in details;
    otherwise torch."""
    exporters = FAMILIES[family_of(loaded.model)].exporters
    computes = settings.compute_type in ("auto", *get_args(Precision))
    on_cpu = choose_device(settings.device).type == "cpu"
    more = settings.sampling or settings.rescoring_samples or settings.trace
    if not ("compiled" in exporters and computes and on_cpu) or more:
        return _Choice("torch", settings.compute_type)
    precision = "float32" if settings.compute_type == "auto" else settings.compute_type
    if (missing := library.missing()) is None:
        return _Choice("compiled", precision)
    if "ctranslate2" in exporters and precision == "float32" and settings.beam == 1 and not settings.allowed_file:
        return _Choice("ctranslate2", precision, missing)
    return _Choice("torch", settings.compute_type, missing)


def reranker(path: Path, settings: WritingOptions) -> Engine:
    """The teacher that reranks, in the engine that is asked for where that runs its model, otherwise in torch."""
    loaded = load_model(path)
    if settings.engine in FAMILIES[family_of(loaded.model)].exporters:
        return create_engine(settings.engine, loaded, compute_type=settings.compute_type)
    device = "cpu" if settings.engine in OWN_THREADS else str(choose_device(settings.device))
    return create_engine("torch", loaded, device=device)


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
