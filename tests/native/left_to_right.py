"""Small random models that write left to right: every cell, every form."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from seqdistill.models.family import FAMILIES, config_named, exporter, family_named, resolved
from seqdistill.runtime.exporting.parts import Part
from seqdistill.vocabulary.ids import OURS

TOKENS = 90
RNN = {"dim": 40, "embedding_dim": 20, "layers": 3}
LAYERS = {"dim": 40, "ffn_dim": 48, "encoder_layers": 2, "decoder_layers": 2, "tied": False}
LATE_NORM = {"norm_first": False, "output_bias": True, "output_scale": 0.5}
CELLS = ("sru", "ssru", "gru", "lstm")
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    **{cell: (cell, RNN) for cell in CELLS},
    **{f"{cell}-projected": (cell, RNN | {"projection": 24, "tied": True}) for cell in CELLS},
    "sru-three-matrices": ("sru", RNN | {"embedding_dim": 20, "projection": 40, "highway_bias": -1.5, "rescale": True}),
    **{f"hybrid-{cell}": ("hybrid", LAYERS | {"cell": cell, "attention": "every"}) for cell in CELLS},
    **{f"hybrid-{cell}-once": ("hybrid", LAYERS | LATE_NORM | {"cell": cell, "attention": "once"}) for cell in CELLS},
    "transformer": ("transformer", LAYERS),
    "transformer-late-norm": ("transformer", LAYERS | LATE_NORM),
    "mixture": ("mixture", LAYERS | {"experts": 2}),
}
"""Presets and sizes: every cell and form there is; widths that fill no block, register or quad of bytes."""
PROMPTED = OURS._replace(decoder_start=7, decoder_prompt=(3, 8))
"""Of a vocabulary whose decoder reads three ids before the first word."""


def model_of(name: str, tokens: int = TOKENS, ids: Any = OURS) -> Any:
    """A random model that is sure of itself, so that few words are nearly as probable as the best; always the same."""
    return _model(name, tokens, ids)


@cache
def _model(name: str, tokens: int, ids: Any) -> Any:
    torch.manual_seed(len(name))
    preset, sizes = MODELS[name]
    config = config_named(preset, sizes, source_vocab=tokens, target_vocab=tokens)
    model = resolved(family_named(preset).model)(config, source_ids=ids, target_ids=ids)
    inner = getattr(model, "transformer", model)
    with torch.no_grad():
        inner.target_embedding.weight.mul_(3)
        inner.target_embedding.weight[list(OURS.never_written)] *= 0.1
        if getattr(config, "output_bias", False):
            inner.output.bias.normal_()
    return model.eval()


def exported(model: Any) -> tuple[str, list[Part]]:
    """The model's family, and its parts."""
    family = next(key for key, each in FAMILIES.items() if each.model.endswith(f":{type(model).__name__}"))
    return family, list(exporter(family, "compiled")(model))
