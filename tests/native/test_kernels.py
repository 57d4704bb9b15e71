"""Kernels against numpy in float64 and whole numbers, and every instruction set against the others, bit by bit."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from tests.native.packing import Matrix, packed, quantized
from tests.native.sets import Kernels, on_every_set, pointer

SHAPES = [(1, 1, 1), (5, 3, 2), (64, 64, 1), (65, 16, 6), (200, 66, 7), (130, 257, 13), (384, 128, 50), (70, 1030, 97)]
"""Outputs, inputs and rows, with every kind of rest: of blocks, quads, tiles and chunks."""


def matrix_of(outputs: int, inputs: int, precision: str, *, bias: bool = True) -> Matrix:
    rng = np.random.default_rng(outputs * 1000 + inputs)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    return packed(weight, rng.normal(size=outputs).astype(np.float32) if bias else None, precision)


def rows_of(rows: int, width: int, *, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed + rows + width).normal(size=(rows, width)).astype(np.float32)
    if rows > 2:
        x[1] = 0  # a row of zeros has no scale
        x[2] *= 1e-34  # nor has one whose greatest number is too small to divide by
    return x


def product(library: ctypes.CDLL, matrix: Matrix, x: np.ndarray) -> np.ndarray:
    """The kernel's product, with numbers beside every row that must stay as they are."""
    outputs = matrix.struct.outputs
    y = np.full((len(x), outputs + 3), 7.5, np.float32)
    library.sdt_linear(ctypes.byref(matrix.struct), pointer(x), len(x), x.shape[1], pointer(y), outputs + 3, 1)
    assert (y[:, outputs:] == 7.5).all(), "wrote past the row"
    return np.ascontiguousarray(y[:, :outputs])


@pytest.mark.parametrize(("outputs", "inputs", "rows"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_int8_products_are_the_whole_numbers_scaled(
    kernels: Kernels, outputs: int, inputs: int, rows: int, bias: bool
) -> None:
    matrix, x = matrix_of(outputs, inputs, "int8", bias=bias), rows_of(rows, inputs)
    (y,) = on_every_set(kernels, lambda library: [product(library, matrix, x)])
    assert matrix.whole is not None and matrix.scale is not None
    whole, scale = quantized(np.where(np.abs(x).max(1, keepdims=True) > 1e-30, x, 0))
    sums = (whole @ matrix.whole.T.astype(np.int32)).astype(np.float32)
    # float32 throughout, in the kernel's order: equal to the last bit.
    expected = sums * (scale[:, None] * matrix.scale[None, :outputs]) + (matrix.bias if bias else np.float32(0))
    assert np.array_equal(y, expected)


@pytest.mark.parametrize(("outputs", "inputs", "rows"), SHAPES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_float_products_are_those_of_float64(
    kernels: Kernels, outputs: int, inputs: int, rows: int, precision: str
) -> None:
    matrix, x = matrix_of(outputs, inputs, precision), rows_of(rows, inputs)
    (y,) = on_every_set(kernels, lambda library: [product(library, matrix, x)])
    error = np.abs(y - (x.astype(float) @ matrix.values.T + matrix.bias))
    # Each of the sum's additions rounds by half a unit in the last place of what the sum has grown to.
    bound = 6e-8 * inputs * (np.abs(x).astype(float) @ np.abs(matrix.values).T + 1)
    assert (error <= bound).all()


def test_extreme_weights_and_rows_do_not_saturate(kernels: Kernels) -> None:
    """With all numbers at +-127 a 16-bit sum of two products of x + 128 would be cut off."""
    signs = np.where(np.random.default_rng(0).random((64, 512)) < 0.5, -1, 1).astype(np.float32)
    matrix, x = packed(signs, None, "int8"), np.stack([signs[0], -signs[0], np.ones(512, np.float32)])
    (y,) = on_every_set(kernels, lambda library: [product(library, matrix, x)])
    assert np.allclose(y, x @ signs.T, rtol=1e-5)
    assert abs(y[0, 0] - 512) < 1e-3


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
def test_a_row_alone_is_the_row_among_many(kernels: Kernels, precision: str) -> None:
    matrix, x = matrix_of(100, 70, precision), rows_of(60, 70)
    for library in kernels.values():
        alone = np.concatenate([product(library, matrix, x[i : i + 1]) for i in range(len(x))])
        assert np.array_equal(alone, product(library, matrix, x))


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
def test_rows_that_are_not_numbers_leave_the_others_alone(kernels: Kernels, precision: str) -> None:
    matrix, x = matrix_of(100, 70, precision), rows_of(3, 70)
    x[2] = 1
    clean = product(kernels["portable"], matrix, x)
    x[0, 3], x[1, 2] = np.nan, np.inf
    for library in kernels.values():
        assert np.array_equal(product(library, matrix, x)[2], clean[2])


@pytest.mark.parametrize(("outputs", "inputs", "rows"), SHAPES)
@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
def test_argmax_is_that_of_the_products(kernels: Kernels, outputs: int, inputs: int, rows: int, precision: str) -> None:
    weight = np.random.default_rng(3).normal(size=(outputs, inputs)).astype(np.float32)
    weight[outputs // 2 :] = weight[: outputs - outputs // 2]  # ties: the first wins
    bias = np.full(outputs, -100, np.float32)  # all below the zeros of padding
    bias[: outputs // 3] = -np.inf
    matrix, x = packed(weight, bias, precision), rows_of(rows, inputs)
    logits = product(kernels["portable"], matrix, x)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        best, top = np.empty(rows, np.int32), np.empty(rows, np.float32)
        library.sdt_argmax(ctypes.byref(matrix.struct), pointer(x), rows, pointer(best), pointer(top), 1)
        return [best, top]

    best, top = on_every_set(kernels, compute)
    assert np.array_equal(best, logits.argmax(1))
    assert np.array_equal(top, logits.max(1))


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
@pytest.mark.parametrize(("outputs", "inputs"), [(5, 3), (200, 66), (130, 256)])
def test_embeddings_are_rows_and_shortlists_are_their_products(
    kernels: Kernels, outputs: int, inputs: int, precision: str
) -> None:
    matrix, x = matrix_of(outputs, inputs, precision), rows_of(9, inputs)
    ids = np.random.default_rng(1).integers(0, outputs, size=77).astype(np.int32)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        rows, y = np.empty((77, inputs), np.float32), np.empty((9, 77), np.float32)
        library.sdt_embed(ctypes.byref(matrix.struct), pointer(ids), 77, ctypes.c_float(11.5), pointer(rows), 1)
        library.sdt_shortlisted(ctypes.byref(matrix.struct), pointer(ids), 77, pointer(x), 9, pointer(y), 1)
        return [rows, y]

    rows, y = on_every_set(kernels, compute)
    assert np.allclose(rows, matrix.values[ids] * 11.5, rtol=1e-6, atol=0)
    assert np.array_equal(y, product(kernels["portable"], matrix, x)[:, ids])


FUNCTIONS = [np.exp, lambda x: 1 / (1 + np.exp(-x)), np.tanh, np.log]


@pytest.mark.parametrize(("number", "low", "high"), [(0, -87.2, 88), (1, -87, 87), (2, -20, 20), (3, 1e-37, 3e38)])
def test_functions_are_within_two_units_in_the_last_place(
    kernels: Kernels, number: int, low: float, high: float
) -> None:
    rng = np.random.default_rng(number)
    x = np.exp(rng.uniform(np.log(low), np.log(high), 200_003)) if number == 3 else rng.uniform(low, high, 200_003)
    small = np.concatenate([rng.normal(size=1000) * 10.0**-k for k in range(30)])
    x = np.concatenate([x, np.abs(small) + 1e-37 if number == 3 else small]).astype(np.float32)
    (y,) = on_every_set(kernels, lambda library: [mapped(library, number, x)])
    expected = FUNCTIONS[number](x.astype(np.float64))
    units = np.abs(y - expected) / np.spacing(np.abs(expected).astype(np.float32))
    assert units.max() <= (2.5 if number == 1 else 2)


def mapped(library: ctypes.CDLL, number: int, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    library.sdt_map(number, pointer(x), len(x), pointer(y))
    return y


def test_functions_at_their_ends(kernels: Kernels) -> None:
    ends = np.array([-np.inf, -1e4, -88, 0, 1e4, np.inf], np.float32)
    exp, sigmoid, tanh = on_every_set(kernels, lambda library: [mapped(library, number, ends) for number in range(3)])
    assert exp[:4].tolist() == [0, 0, 0, 1] and np.isfinite(exp).all()
    assert np.allclose(sigmoid, [0, 0, 0, 0.5, 1, 1], atol=1e-37)
    assert tanh.tolist() == [-1, -1, -1, 0, 1, 1]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 8000])
def test_log_sum_exp_and_argmax(kernels: Kernels, count: int) -> None:
    x = (np.random.default_rng(count).normal(size=count) * 20).astype(np.float32)
    x[: count // 2] = -np.inf
    x[-1] = x.max()

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        total, best = np.empty(1, np.float32), np.empty(1, np.int32)
        library.sdt_reduce(pointer(x), count, pointer(total), pointer(best))
        return [total, best]

    total, best = on_every_set(kernels, compute)
    exact = x.astype(float)
    assert abs(total[0] - (exact.max() + np.log(np.exp(exact - exact.max()).sum()))) < 1e-5 + 2e-7 * abs(exact.max())
    assert best[0] == x.argmax()
    nothing = np.full(count, -np.inf, np.float32)
    kernels["portable"].sdt_reduce(pointer(nothing), count, pointer(total), pointer(best))
    assert total[0] == -np.inf and best[0] == 0


@pytest.mark.parametrize("dim", [1, 6, 16, 48, 130, 512])
def test_layer_norm_is_torchs(kernels: Kernels, dim: int) -> None:
    x = np.random.default_rng(dim).normal(3, 2, size=(5, dim + 2)).astype(np.float32)
    weight, bias = np.random.default_rng(1).normal(size=(2, dim)).astype(np.float32)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        y = np.empty((5, dim), np.float32)
        library.sdt_layer_norm(pointer(x), 5, dim + 2, dim, pointer(weight), pointer(bias), pointer(y))
        return [y]

    (y,) = on_every_set(kernels, compute)
    exact = [torch.tensor(array).double() for array in (x[:, :dim], weight, bias)]
    expected = torch.nn.functional.layer_norm(exact[0], (dim,), *exact[1:], eps=1e-5)
    assert np.allclose(y, expected.numpy(), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("count", [1, 16, 37])
def test_changes_in_place(kernels: Kernels, count: int) -> None:
    x, y = np.random.default_rng(count).normal(size=(2, count)).astype(np.float32)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        changed = np.append(y, np.float32(5))
        library.sdt_change(pointer(changed), pointer(x), count, ctypes.c_float(1.7))
        return [changed]

    (changed,) = on_every_set(kernels, compute)
    assert np.array_equal(changed[:-1], np.maximum((y + x) * np.float32(1.7), 0)) and changed[-1] == 5


def test_the_arena_gives_its_memory_again_and_refuses_what_is_not_there(kernels: Kernels) -> None:
    for library in kernels.values():
        assert library.sdt_arena(ctypes.c_uint64(1 << 20)) == 0
        assert library.sdt_arena(ctypes.c_uint64(1 << 60)) == 1
        assert library.sdt_arena(ctypes.c_uint64((1 << 64) - 1)) == 1
        assert library.sdt_arena(ctypes.c_uint64(1 << 20)) == 0
        library.sdt_free()
