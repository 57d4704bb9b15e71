"""Attention and recurrent layers over ragged rows: torch in float64, sentence by sentence; same bits on all sets."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from seqdistill.nn.recurrent import SRU
from seqdistill.nn.ssru import SSRU
from tests.native.packing import Linear, packed
from tests.native.sets import Kernels, on_every_set, pointer

LENGTHS = [3, 1, 0, 17, 33, 16]
"""Of a batch's sentences; one is empty."""
HEADS = [(1, 5), (1, 256), (4, 128), (3, 30), (2, 34), (8, 64)]
"""Heads and width; head sizes 5, 256, 32, 10, 17 and 8."""


class Memory(ctypes.Structure):
    """`struct Memory` of cpp/attention.h."""

    _fields_ = (
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("key_stride", ctypes.c_int),
        ("value_stride", ctypes.c_int),
    )


class Sru(ctypes.Structure):
    """`struct Sru` of cpp/recurrence.h."""

    _fields_ = (
        ("dim", ctypes.c_int),
        ("fourth", ctypes.c_bool),
        ("scale", ctypes.c_float),
        ("recurrent", ctypes.c_void_p),
    )


class Batch(NamedTuple):
    """Queries and side-by-side keys and values, with numbers between the rows."""

    query: np.ndarray
    key_value: np.ndarray
    memory: Memory


def starts_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def batch(queries: int, keys: int, dim: int) -> Batch:
    key_value = normal(keys, 2 * dim + 3, seed=1)
    start = key_value.ctypes.data
    stride = 2 * dim + 3
    return Batch(normal(queries, dim + 1) * 2, key_value, Memory(start, start + 4 * dim, stride, stride))


def attention(query: np.ndarray, key_value: np.ndarray, heads: int, dim: int) -> np.ndarray:
    """Torch's attention in float64 of query rows to key and value rows."""
    parts = (query[:, :dim], key_value[:, :dim], key_value[:, dim : 2 * dim])
    split = [torch.tensor(part).double().unflatten(1, (heads, -1)).transpose(0, 1) for part in parts]
    if not len(key_value):
        return np.zeros((len(query), dim))
    return nn.functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1).numpy()


@pytest.mark.parametrize(("heads", "dim"), HEADS)
def test_attention_of_ragged_lists(kernels: Kernels, heads: int, dim: int) -> None:
    sentences = np.array([1, 0, 5, 3, 4, 2, 3], np.int32)  # which sentence each list of queries reads
    queries, keys = starts_of([2, 0, 3, 1, 5, 2, 1]), starts_of(LENGTHS)
    given = batch(queries[-1], keys[-1], dim)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        out = np.full((queries[-1], dim + 2), 7.5, np.float32)
        library.sdt_attend(
            pointer(given.query), dim + 1, pointer(queries), len(sentences), ctypes.byref(given.memory), pointer(keys),
            len(LENGTHS), pointer(sentences), heads, dim, pointer(out), dim + 2, 1,
        )  # fmt: skip
        assert (out[:, dim:] == 7.5).all()
        return [out[:, :dim].copy()]

    (out,) = on_every_set(kernels, compute)
    for i, sentence in enumerate(sentences):
        rows, read = slice(*queries[i : i + 2]), slice(*keys[sentence : sentence + 2])
        assert np.allclose(out[rows], attention(given.query[rows], given.key_value[read], heads, dim), atol=3e-6)


@pytest.mark.parametrize(("heads", "dim"), HEADS)
def test_attention_to_rows_of_a_cache(kernels: Kernels, heads: int, dim: int) -> None:
    given = batch(6, 50, dim)
    lengths = np.array([0, 1, 7, 16, 30, 19], np.int32)
    table = np.random.default_rng(0).integers(0, 50, size=(6, 31)).astype(np.int32)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        out = np.empty((6, dim), np.float32)
        library.sdt_attend_rows(
            pointer(given.query), dim + 1, 6, ctypes.byref(given.memory), pointer(table), 31, pointer(lengths), heads,
            dim, pointer(out), dim, 1,
        )  # fmt: skip
        return [out]

    (out,) = on_every_set(kernels, compute)
    for i, length in enumerate(lengths):
        expected = attention(given.query[i : i + 1], given.key_value[table[i, :length]], heads, dim)
        assert np.allclose(out[i], expected[0], atol=3e-6)


def test_attention_with_large_scores_is_the_greatest_key(kernels: Kernels) -> None:
    given = batch(1, 20, 16)
    query = given.key_value[7:8, :16].repeat(2, 0) * 1000
    starts = starts_of([20])

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        out = np.empty((1, 16), np.float32)
        library.sdt_attend(
            pointer(query), 16, pointer(starts_of([1])), 1, ctypes.byref(given.memory), pointer(starts), 1, None, 1, 16,
            pointer(out), 16, 1,
        )  # fmt: skip
        return [out]

    (out,) = on_every_set(kernels, compute)
    assert np.allclose(out[0], given.key_value[7, 16:32], rtol=1e-6)


def in_turn(layer: nn.Module, x: np.ndarray, initial: np.ndarray, backward: bool) -> tuple[np.ndarray, np.ndarray]:
    """A layer of one direction over each sentence alone: hidden states, and states after each."""
    starts, hidden, finals = starts_of(LENGTHS), [], []
    for i in range(len(LENGTHS)):
        rows = torch.tensor(x[starts[i] : starts[i + 1]]).double()[:, None]
        state = torch.tensor(initial[i]).double()[None]  # (batch, states, dim)
        if not len(rows):
            finals.append(state[0])
            continue
        out, final = layer(rows.flip(0) if backward else rows, state)
        hidden.append((out.flip(0) if backward else out)[:, 0])
        finals.append(final[0])
    return torch.cat(hidden).detach().numpy(), torch.stack(finals).detach().numpy()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("input_dim", "dim", "rescale"), [(20, 20, False), (16, 16, True), (12, 37, True)])
def test_sru(kernels: Kernels, input_dim: int, dim: int, rescale: bool, backward: bool) -> None:
    layer = SRU(input_dim, dim, highway_bias=-1.0 if rescale else 0.0, rescale=rescale).double()
    x, initial, starts = normal(sum(LENGTHS), input_dim), normal(len(LENGTHS), 1, dim, seed=1), starts_of(LENGTHS)
    hidden, final = in_turn(layer, x, initial, backward)
    projected = layer._project(torch.tensor(x).double()[None])[0].detach().numpy().astype(np.float32)
    recurrent = layer.recurrent[0].detach().numpy().astype(np.float32)
    sru = Sru(dim, layer.matrices == 4, layer.scale, recurrent.ctypes.data)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        cell, out = initial[:, 0].copy(), np.empty((len(x), dim), np.float32)
        given = (ctypes.byref(sru), pointer(starts), len(LENGTHS), backward, pointer(projected), projected.shape[1])
        library.sdt_sru(*given, pointer(x), pointer(cell), pointer(out), 1)
        step_cell, step = initial[:, 0].copy(), np.empty((len(LENGTHS), dim), np.float32)
        given = (ctypes.byref(sru), len(LENGTHS), pointer(projected), projected.shape[1], pointer(x))
        library.sdt_sru_step(*given, pointer(step_cell), pointer(step))
        return [out, cell, step, step_cell]

    out, cell, step, step_cell = on_every_set(kernels, compute)
    assert np.allclose(out, hidden, atol=2e-6) and np.allclose(cell, final[:, 0], atol=2e-6)
    with torch.no_grad():
        once = layer.step(torch.tensor(x[: len(LENGTHS)]).double(), torch.tensor(initial).double())
    assert np.allclose(step, once[0], atol=2e-6) and np.allclose(step_cell, once[1][:, 0], atol=2e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dim", [5, 16, 40])
def test_ssru(kernels: Kernels, dim: int, backward: bool) -> None:
    layer = SSRU(9, dim).double()
    x, initial, starts = normal(sum(LENGTHS), 9), normal(len(LENGTHS), 1, dim, seed=1), starts_of(LENGTHS)
    with torch.no_grad():
        layer.bias.normal_()
        hidden, final = in_turn(layer, x, initial, backward)
        gates = torch.tensor(x).double() @ layer.weight[0]
        gates[:, dim:] += layer.bias[0]
    projected = gates.numpy().astype(np.float32)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        cell, out = initial[:, 0].copy(), np.empty((len(x), dim), np.float32)
        given = (dim, pointer(starts), len(LENGTHS), backward, pointer(projected), 2 * dim)
        library.sdt_ssru(*given, pointer(cell), pointer(out))
        step_cell, step = initial[:, 0].copy(), np.empty((len(LENGTHS), dim), np.float32)
        library.sdt_ssru_step(dim, len(LENGTHS), pointer(projected), 2 * dim, pointer(step_cell), pointer(step))
        return [out, cell, step, step_cell]

    out, cell, step, step_cell = on_every_set(kernels, compute)
    assert np.allclose(out, hidden, atol=2e-6) and np.allclose(cell, final[:, 0], atol=2e-6)
    with torch.no_grad():
        once = layer.step(torch.tensor(x[: len(LENGTHS)]).double(), torch.tensor(initial).double())
    assert np.allclose(step, once[0], atol=2e-6) and np.allclose(step_cell, once[1][:, 0], atol=2e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dim", [5, 16, 40])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gru_and_lstm(kernels: Kernels, cell: str, dim: int, backward: bool) -> None:
    module = (nn.GRU if cell == "gru" else nn.LSTM)(9, dim).double()
    weights = [parameter.detach().numpy().astype(np.float32) for parameter in module.parameters()]
    recurrent = packed(weights[1], weights[3], "float32")
    x, starts = normal(sum(LENGTHS), 9), starts_of(LENGTHS)
    initial = normal(len(LENGTHS), 2, dim, seed=1)

    def layer(rows: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if cell == "gru":
            hidden, final = module(rows, state[:, 0][None].contiguous())
            return hidden, torch.cat([final, state[:, 1][None]])[None, :, 0]
        hidden, (final, cells) = module(rows, (state[:, 0][None].contiguous(), state[:, 1][None].contiguous()))
        return hidden, torch.cat([final, cells])[None, :, 0]

    hidden, final = in_turn(layer, x, initial, backward)  # pyright: ignore[reportArgumentType]
    projected = (x.astype(float) @ weights[0].T.astype(float) + weights[2]).astype(np.float32)
    width = projected.shape[1]

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        states = np.ascontiguousarray(initial.transpose(1, 0, 2))
        out = np.empty((len(x), dim), np.float32)
        given = (ctypes.byref(recurrent.struct), pointer(starts), len(LENGTHS), backward, pointer(projected), width)
        if cell == "gru":
            library.sdt_gru(*given, pointer(states[0]), pointer(out))
        else:
            library.sdt_lstm(*given, pointer(states[0]), pointer(states[1]), pointer(out))
        return [out, states]

    out, states = on_every_set(kernels, compute)
    assert np.allclose(out, hidden, atol=2e-6) and np.allclose(states.transpose(1, 0, 2), final, atol=2e-6)


def test_steps_are_the_first_of_the_scans(kernels: Kernels) -> None:
    dim, starts = 20, starts_of([1])
    inputs, products = normal(4 * dim), normal(4 * dim, seed=1)
    matrix = packed(np.zeros((4 * dim, dim), np.float32), products, "float32")
    recurrent = matrix.struct
    three = Linear(recurrent.precision, 3 * dim, dim, recurrent.weight, None, None, recurrent.bias)

    def compute(library: ctypes.CDLL) -> list[np.ndarray]:
        gru, hidden, cell = np.zeros((3, dim), np.float32)
        library.sdt_gate_steps(dim, pointer(inputs), pointer(products), pointer(gru), pointer(hidden), pointer(cell))
        state, cells, out = np.zeros((3, dim), np.float32)
        given = (pointer(starts), 1, 0, pointer(inputs), 0)
        library.sdt_gru(ctypes.byref(three), *given, pointer(state), pointer(out))
        assert np.array_equal(gru, out)
        state[:] = 0
        library.sdt_lstm(ctypes.byref(recurrent), *given, pointer(state), pointer(cells), pointer(out))
        assert np.array_equal(hidden, out) and np.array_equal(cell, cells)
        return [gru, hidden, cell]

    on_every_set(kernels, compute)
