"""Models that write all positions at once, as parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seqdistill.models.interface import Model
from seqdistill.runtime.exporting.parts import Part


def nonautoregressive_parts(model: Model) -> Iterator[Part]:
    """Embeddings, encoder, decoder, and the heads of its family: every parameter under its own name.

    Two dimensions are a matrix, one is a vector. Tied embeddings are stored once, as the target's.
    """
    found: Any = model
    tied = found.source_embedding is found.target_embedding
    for name, weight in model.named_parameters(remove_duplicate=False):
        if not (tied and name == "source_embedding.weight"):
            yield Part(name, weight.detach(), matrix=weight.dim() == 2)
