"""Exported matrices against the drawing of their layout, cell by cell, and against torch's own rounding."""

import numpy as np
import pytest
import torch

from seqdistill.runtime.exporting.packing import PACKINGS

SHAPES = [(1, 1), (3, 5), (64, 4), (65, 7), (200, 128)]


def random(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_lies_where_the_drawing_says(shape: tuple[int, int]) -> None:
    """[outputs / 64][inputs][64], and in int8 [outputs / 64][inputs / 4][64][4]; what is left over is zero."""
    matrix = random(shape)
    for precision in ("float32", "bfloat16", "int8"):
        data = PACKINGS[precision](matrix).data
        found, rest = np.zeros(shape, data.dtype), data.copy()
        for row, column in np.ndindex(*shape):
            if precision == "int8":
                place = (row // 64, column // 4, row % 64, column % 4)
            else:
                place = (row // 64, column, row % 64)
            found[row, column], rest[place] = data[place], 0
        assert not rest.any() and data.flags.c_contiguous
        if precision == "float32":
            assert (found == matrix).all()
        elif precision == "bfloat16":
            expected = torch.from_numpy(matrix).bfloat16().float().numpy()
            assert ((found.astype(np.uint32) << 16).view(np.float32) == expected).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_numbers_are_the_nearest_of_each_row(shape: tuple[int, int]) -> None:
    matrix = random(shape)
    matrix[0] *= 1000
    packed = PACKINGS["int8"](matrix)
    assert packed.scale is not None and packed.correction is not None
    numbers = packed.data.transpose(0, 2, 1, 3).reshape(packed.data.shape[0] * 64, -1).astype(np.int64)
    scale = packed.scale.astype(np.float64)[: shape[0], None]
    assert np.abs(numbers[: shape[0], : shape[1]] * scale - matrix).max(1) == pytest.approx(0, abs=0.51 * scale.max())
    assert (np.abs(numbers[: shape[0], : shape[1]] * scale - matrix) <= 0.5001 * scale).all()
    assert (np.abs(numbers).max(1)[: shape[0]] == 127).all(), "the largest of each row is 127"
    assert (packed.correction == -128 * numbers.sum(1)).all()


def test_halves_go_to_the_even_number_and_zeros_stay() -> None:
    matrix = np.array([[127.0, 0.5, 1.5, -2.5, -3.5], [0, 0, 0, 0, 0]], dtype=np.float32)
    packed = PACKINGS["int8"](matrix)
    rows = packed.data.transpose(0, 2, 1, 3).reshape(64, -1)
    assert rows[0, :5].tolist() == [127, 0, 2, -2, -4] and not rows[1].any()
    assert packed.scale is not None and np.isfinite(packed.scale).all()
    ties = np.array([[1.00390625, 1.01171875]], dtype=np.float32)  # halfway between two numbers of bfloat16
    assert PACKINGS["bfloat16"](ties).data[0, :, 0].tolist() == [0x3F80, 0x3F82]
