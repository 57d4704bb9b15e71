"""Matrices as the kernels read them: in blocks of 64 outputs, in one of three precisions, packed once at export.

Outputs are rows of the matrix, padded with zeros to a multiple of 64, so that a vector register holds one input's
weights for 16 outputs side by side:

    float32, bfloat16   [outputs / 64][inputs][64]
    int8                [outputs / 64][inputs / 4][64][4]: four inputs of an output are neighbours, as the dot-product
                        instructions multiply four bytes and add them up; inputs are padded to a multiple of 4

The int8 weight of row r is round(w / scale[r]), ties to even, with scale[r] the row's largest magnitude over 127: the
values lie in +-127, never at -128, and a product is scale[r] times that of the input's scale times a sum of integers.
AVX-512 VNNI multiplies unsigned by signed bytes, so it is given x + 128, and sum (x + 128) q = sum x q + 128 sum q:
`correction[r]` is -128 times the sum of row r.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from seqdistill.nn.int8 import quantized

Precision = Literal["int8", "bfloat16", "float32"]

BLOCK, QUAD = 64, 4


class Packed(NamedTuple):
    """A matrix as it lies in the file of weights."""

    data: np.ndarray
    scale: np.ndarray | None = None
    """float32, one a row, padded as the rows; int8 only."""
    correction: np.ndarray | None = None
    """int32, in the same way."""


def packed_float32(matrix: Float[np.ndarray, "outputs inputs"]) -> Packed:
    """The values as they are."""
    return Packed(_blocks(matrix.astype(np.float32)))


def packed_bfloat16(matrix: Float[np.ndarray, "outputs inputs"]) -> Packed:
    """The upper half of each float32, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(matrix, dtype=np.float32).view(np.uint32)
    # Half a unit of the last place that stays, less one bit where that place is even: a tie goes up only if it is odd.
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return Packed(_blocks((rounded >> np.uint32(16)).astype(np.uint16)))


def packed_int8(matrix: Float[np.ndarray, "outputs inputs"]) -> Packed:
    """Quantised symmetrically, each row by its own scale."""
    numbers, scale = quantized(torch.from_numpy(matrix.astype(np.float32)))
    outputs, inputs = matrix.shape
    padded = np.zeros((_up(outputs, BLOCK), _up(inputs, QUAD)), dtype=np.int8)
    padded[:outputs, :inputs] = numbers.numpy()
    # (outputs, inputs) -> (blocks, 64, quads, 4) -> (blocks, quads, 64, 4)
    data = padded.reshape(-1, BLOCK, padded.shape[1] // QUAD, QUAD).transpose(0, 2, 1, 3)
    scales = np.zeros(len(padded), dtype=np.float32)
    scales[:outputs] = scale[:, 0].numpy()
    correction = -128 * padded.sum(1, dtype=np.int32)
    return Packed(np.ascontiguousarray(data), scales, correction)


PACKINGS: dict[Precision, Callable[[np.ndarray], Packed]] = {
    "int8": packed_int8,
    "bfloat16": packed_bfloat16,
    "float32": packed_float32,
}


def _blocks(matrix: np.ndarray) -> np.ndarray:
    """(outputs, inputs) -> (blocks, inputs, 64), padded with zeros."""
    outputs, inputs = matrix.shape
    padded = np.zeros((_up(outputs, BLOCK), inputs), dtype=matrix.dtype)
    padded[:outputs] = matrix
    return np.ascontiguousarray(padded.reshape(-1, BLOCK, inputs).transpose(0, 2, 1))


def _up(number: int, step: int) -> int:
    """The next multiple.

    >>> _up(65, 64), _up(64, 64)
    (128, 64)
    """
    return -(-number // step) * step
