"""A model is made only where this machine's memory can hold it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from seqdistill.errors import UserError
from seqdistill.models.interface import Model


def built(make: Callable[..., Model], config: Any, **ids: Any) -> Model:
    """`make(config, **ids)`, with fresh weights from torch's global generator.

    Raises:
        UserError: its weights alone are larger than this machine's memory; nothing was made.
    """
    if at_most(config) > memory():
        # Counting takes as long as making a small model, so it is left out where a bound says enough. On the device
        # "meta" tensors have shapes and no memory, so the largest model can be counted.
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            needed = _bytes(make(config, **ids))
        if needed > memory():
            raise UserError(
                f"a model of these sizes has {needed / 1e9:,.1f} GB of weights, but this machine has "
                f"{memory() / 1e9:,.1f} GB of memory: give smaller widths or fewer layers ({config})"
            )
    return make(config, **ids)


def at_most(config: Any) -> int:
    """A bound on the bytes of the weights: as if every layer had 64 square matrices as wide as all widths together."""
    sizes = {name: value for name, value in vars(config).items() if type(value) is int}
    layers = 2 + sum(value for name, value in sizes.items() if name.endswith("layers"))
    widths = sum(value for name, value in sizes.items() if name.endswith(("dim", "projection")))
    words = sizes["source_vocab"] + sizes["target_vocab"] + sizes.get("experts", 0)
    return 4 * (64 * layers * widths**2 + words * widths)


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _bytes(model: Model) -> int:
    assert isinstance(model, nn.Module)
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))
