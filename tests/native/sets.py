"""Calls of the kernels on every instruction set of this machine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

Kernels = dict[str, ctypes.CDLL]


def pointer(array: np.ndarray | None) -> ctypes.c_void_p | None:
    """Where the array's numbers lie."""
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array


def on_every_set(kernels: Kernels, compute: Callable[[ctypes.CDLL], list[np.ndarray]]) -> list[np.ndarray]:
    """What `compute` gives, the same bits on every instruction set of this machine."""
    results = {name: compute(library) for name, library in kernels.items()}
    first = results["portable"]
    for name, arrays in results.items():
        for ours, theirs in zip(first, arrays, strict=True):
            different = np.flatnonzero(ours.view(np.int32) != theirs.view(np.int32))
            assert not len(different), f"{name} differs from portable at {different[:5]}"
    return first
