"""The engine that a verb's decoding settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seqdistill.decoding.corpus import Engine, NativeEngine
from seqdistill.decoding.mixed import Mixed
from seqdistill.errors import UserError
from seqdistill.models.saved import load_model
from seqdistill.runtime.engines import load_engine
from seqdistill.settings import DecodingSettings, EvaluateSettings, TranslateSettings
from seqdistill.training.optim import choose_device


def engine_options(settings: DecodingSettings) -> dict[str, Any]:
    """What `load_engine` takes besides the engine's name and the model.

    Raises:
        UserError: an option that the engine asked for does not have.
    """
    if settings.engine == "ctranslate2":
        if settings.device not in ("auto", "cpu"):
            raise UserError(f"CTranslate2 runs on the CPU here; leave out --device {settings.device}, or --engine")
        return {"compute_type": settings.compute_type}
    if settings.compute_type != "auto":
        raise UserError(
            f"--compute-type {settings.compute_type} belongs to --engine ctranslate2; ours computes in float32"
        )
    return {"device": str(choose_device(settings.device))}


def open_engine(settings: EvaluateSettings | TranslateSettings) -> Engine:
    """Loads the model, or the two models of mixed decoding, into the engine.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies.
    """
    if settings.first_model is None:
        if settings.first_tokens:
            raise UserError("--first-tokens says how many tokens --first-model writes; give that model too")
        return load_engine(settings.engine, settings.model, **engine_options(settings))
    return _mixed(settings.first_model, settings)


def _mixed(first_model: Path, settings: EvaluateSettings | TranslateSettings) -> Engine:
    if settings.engine != "native":
        raise UserError(f"mixed decoding runs on our own decoder; leave out --engine {settings.engine}")
    first, second = load_model(first_model), load_model(settings.model)
    if first.tokenizers.fingerprint != second.tokenizers.fingerprint:
        raise UserError(
            f"{first_model} and {settings.model} have different tokenizers; mixed decoding needs two models trained on "
            "one data directory (or on one distilled from it)"
        )
    pair = Mixed(first.model, second.model, first_tokens=settings.first_tokens)
    device = choose_device(settings.device)
    return NativeEngine(pair, second.tokenizers, device=device, fingerprint=f"{first.fingerprint}+{second.fingerprint}")
