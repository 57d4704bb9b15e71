"""Matrices packed by numpy, from the drawing in cpp/linear.h, and what the kernels should make of them in float64."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

INT8, BFLOAT16, FLOAT32 = range(3)
PRECISIONS = {"int8": INT8, "bfloat16": BFLOAT16, "float32": FLOAT32}


class Linear(ctypes.Structure):
    """`struct Linear` of cpp/linear.h."""

    _fields_ = (
        ("precision", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("inputs", ctypes.c_int),
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("correction", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class Matrix(NamedTuple):
    """A packed matrix, and what keeps its memory."""

    struct: Linear
    values: np.ndarray
    """What the stored numbers stand for, float64, [outputs, inputs]."""
    whole: np.ndarray | None
    """int8: the whole numbers."""
    scale: np.ndarray | None
    bias: np.ndarray | None
    memory: tuple[Any, ...]


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def packed(weight: np.ndarray, bias: np.ndarray | None, precision: str) -> Matrix:
    """Packs a float32 matrix of [outputs, inputs]."""
    outputs, inputs = weight.shape
    blocks, quads = -(-outputs // 64), -(-inputs // 4)
    whole = scale = correction = None
    if precision == "int8":
        scale = np.zeros(blocks * 64, np.float32)
        scale[:outputs] = np.abs(weight).max(1) / np.float32(127)
        whole = np.rint(weight / np.where(scale[:outputs] == 0, 1, scale[:outputs])[:, None]).astype(np.int8)
        values = whole.astype(np.float64) * scale[:outputs, None]
        cells = np.zeros((blocks * 64, quads * 4), np.int8)
        cells[:outputs, :inputs] = whole
        memory = cells.reshape(blocks, 64, quads, 4).transpose(0, 2, 1, 3)
        correction = aligned(-128 * cells.sum(1, dtype=np.int32))
        scale = aligned(scale)
    else:
        stored = weight if precision == "float32" else (weight.view(np.uint32) >> 16).astype(np.uint16)
        values = (weight if precision == "float32" else (stored.astype(np.uint32) << 16).view(np.float32)).astype(float)
        cells = np.zeros((blocks * 64, inputs), stored.dtype)
        cells[:outputs] = stored
        memory = cells.reshape(blocks, 64, inputs).transpose(0, 2, 1)
    weight_memory = aligned(memory)
    keep = (weight_memory, scale, correction, bias)
    struct = Linear(PRECISIONS[precision], outputs, inputs, *(x.ctypes.data if x is not None else None for x in keep))
    return Matrix(struct, values, whole, scale, bias, keep)


def quantized(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as whole numbers within +-127, and the scale of each: in float32, as the kernels compute them."""
    size = np.abs(x).max(1).astype(np.float32)
    inverse = np.where(size > 0, np.float32(127) / np.where(size > 0, size, 1), 0).astype(np.float32)
    return np.rint(x * inverse[:, None]).astype(np.int32), size / np.float32(127)
