"""Engines by name: our own decoder, our compiled engine, and CTranslate2 for Transformers. Same rules, same scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.engine import Engine
from seqdistill.errors import UserError, nearest
from seqdistill.models.saved import LoadedModel, load_model
from seqdistill.runtime.compiled_engine import compiled_engine
from seqdistill.runtime.conversions import converted
from seqdistill.runtime.ctranslate2_engine import CTranslate2Engine, checked_compute_type
from seqdistill.text.sources import default_cache
from seqdistill.training.memory import keep_freed_memory
from seqdistill.training.optim import choose_precision


def torch_engine(
    loaded: LoadedModel,
    *,
    device: str | torch.device = "cpu",
    max_tokens: int = 8192,
    compute_type: str = "auto",
) -> TorchEngine:
    """Our own decoder; the process keeps freed memory: decoding is 5-10 % faster.

    Raises:
        UserError: a compute type other than float32, auto (which is float32) and bfloat16, or one the device emulates.
    """
    precision = torch_precision(compute_type, torch.device(device))
    keep_freed_memory()
    return TorchEngine(
        loaded.model,
        loaded.tokenizers,
        max_tokens=max_tokens,
        device=device,
        precision=precision,
        fingerprint=loaded.fingerprint,
    )


def torch_precision(compute_type: str, device: torch.device) -> torch.dtype:
    """Precision of our own decoder; raises as `torch_engine`."""
    if compute_type not in ("auto", "float32", "bfloat16"):
        raise UserError(
            f"compute type {compute_type!r} belongs to other engines (--engine compiled, ctranslate2); torch computes "
            "in float32 or bfloat16"
        )
    return choose_precision("float32" if compute_type == "auto" else compute_type, device)


def ctranslate2_engine(
    loaded: LoadedModel, *, cache: Path | None = None, compute_type: str = "auto", **options: Any
) -> CTranslate2Engine:
    """A Transformer converted for CTranslate2, unless its conversion lies in the cache.

    Args:
        cache: `default_cache()` when None.
        compute_type, options: keyword arguments of `CTranslate2Engine`.

    Raises:
        UserError: the model cannot be converted, or the processor lacks the compute type.
    """
    precision = checked_compute_type(compute_type)
    with converted(loaded, cache or default_cache(), precision=precision) as folder:
        options |= {"model": loaded.fingerprint, "compute_type": precision}
        return CTranslate2Engine(folder, loaded.tokenizers, **options)


ENGINES: Mapping[str, Callable[..., Engine]] = {
    "torch": torch_engine,
    "compiled": compiled_engine,
    "ctranslate2": ctranslate2_engine,
}
"""Name of an engine -> what makes it of a loaded model."""


def create_engine(name: str, loaded: LoadedModel, **options: Any) -> Engine:
    """An engine by name, with a model.

    Args:
        options: keyword arguments of `torch_engine`, `compiled_engine` or `ctranslate2_engine`.

    Raises:
        UserError: unknown engine, or a model it cannot run.
    """
    if name not in ENGINES:
        raise UserError(f"unknown engine {name!r}; {nearest(name, ENGINES)}")
    return ENGINES[name](loaded, **options)


def load_engine(name: str, model_dir: Path, *, expert: int | None = None, **options: Any) -> Engine:
    """The same, for a model directory; picklable with its arguments.

    Raises:
        UserError: as `create_engine` and `load_model`.
    """
    return create_engine(name, load_model(model_dir, expert=expert), **options)
