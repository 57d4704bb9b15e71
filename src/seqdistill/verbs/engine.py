"""The engine that a verb's decoding settings ask for."""

from __future__ import annotations

from pathlib import Path

from seqdistill.decoding.corpus import Engine, NativeEngine
from seqdistill.decoding.mixed import Mixed
from seqdistill.errors import UserError
from seqdistill.models.saved import load_model
from seqdistill.runtime.engines import load_engine
from seqdistill.settings import EvaluateSettings, TranslateSettings
from seqdistill.training.optim import choose_device


def open_engine(settings: EvaluateSettings | TranslateSettings) -> Engine:
    """Loads the model, or the two models of mixed decoding, into the engine.

    Raises:
        UserError: a damaged model, one the engine cannot compute, or two models of different vocabularies.
    """
    device = choose_device(settings.device)
    if settings.first_model is None:
        if settings.first_tokens:
            raise UserError("--first-tokens says how many tokens --first-model writes; give that model too")
        return load_engine(settings.engine, settings.model, device=str(device), compute_type=settings.compute_type)
    return _mixed(settings.first_model, settings, str(device))


def _mixed(first_model: Path, settings: EvaluateSettings | TranslateSettings, device: str) -> Engine:
    if settings.engine != "native":
        raise UserError(f"mixed decoding runs on our own decoder; leave out --engine {settings.engine}")
    first, second = load_model(first_model), load_model(settings.model)
    if first.tokenizers.fingerprint != second.tokenizers.fingerprint:
        raise UserError(
            f"{first_model} and {settings.model} have different tokenizers; mixed decoding needs two models trained on "
            "one data directory (or on one distilled from it)"
        )
    pair = Mixed(first.model, second.model, first_tokens=settings.first_tokens)
    return NativeEngine(pair, second.tokenizers, device=device, fingerprint=f"{first.fingerprint}+{second.fingerprint}")
