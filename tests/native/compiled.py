"""A torch model in the compiled engine, without files: what exported models are compared with."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.interface import Model
from seqdistill.native import build, library
from seqdistill.native.search import length_limit
from seqdistill.options import DecodingOptions
from seqdistill.runtime.exporting.parts import Part

BLOCK = 64
SANITIZED = "SEQDISTILL_SANITIZED" in os.environ
"""See tests/native/sanitized.py."""
FOLDER = build.LIB / "sanitized" if SANITIZED else build.LIB


class Compiled:
    """The model of some parts in a library of the engine."""

    def __init__(
        self, model: Model, parts: Iterable[Part], family: str, *, precision: str, instructions: str | None = None
    ) -> None:
        self.library, self.model = library.engine(instructions, FOLDER), model
        self.arrays: list[Any] = []
        tensors = [self._tensor(part, precision) for part in parts]
        self.handle, self.workspace = ctypes.c_void_p(), ctypes.c_void_p()
        self._call(
            self.library.sd_model_new,
            _settings(model, family, precision).encode(),
            (library.Tensor * len(tensors))(*tensors),
            len(tensors),
            ctypes.byref(self.handle),
        )
        assert not self.library.sd_workspace_new(ctypes.byref(self.workspace))

    def __del__(self) -> None:
        self.library.sd_workspace_free(self.workspace)
        self.library.sd_model_free(self.handle)

    def decode(
        self,
        sources: Sequence[Sequence[int]],
        options: DecodingOptions,
        *,
        prefixes: Sequence[Sequence[int]] = (),
        allowed: Sequence[Sequence[int]] = (),
        translations: Sequence[Sequence[int]] = (),
        scores: bool = True,
        workspace: ctypes.c_void_p | None = None,
    ) -> list[list[Hypothesis]]:
        """Sources without EOS, all in one call; `translations` of each source id are the shortlist's table."""
        held = Held()
        table = held.table(translations, self.model.config.target_vocab) if translations else None
        request = library.Request(
            len(sources),
            held.lists(self._ended(sources)),
            held.lists(prefixes),
            held.lists(allowed),
            table and ctypes.addressof(table),
            held.array(np.int32, [length_limit(len(source), options) for source in sources]),
            options.beam,
            options.n_best,
            options.no_repeat_ngram,
            options.min_length,
            options.iterations or 0,
            int(scores),
            options.length_penalty,
            options.penalty,
        )
        result = library.Result()
        self._call(
            self.library.sd_decode,
            self.handle,
            workspace or self.workspace,
            ctypes.byref(request),
            ctypes.byref(result),
        )
        found = _hypotheses(result, sum(result.counts[: len(sources)]))
        return [[next(found) for _ in range(count)] for count in result.counts[: len(sources)]]

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[float]:
        """Log-probabilities of targets without EOS."""
        held, log_probs = Held(), (ctypes.c_double * len(sources))()
        lists = [ctypes.byref(held.lists(rows)) for rows in (self._ended(sources), targets)]
        self._call(self.library.sd_score, self.handle, self.workspace, len(sources), *lists, log_probs)
        return list(log_probs)

    def _ended(self, sources: Sequence[Sequence[int]]) -> list[list[int]]:
        return [[*source, self.model.source_ids.eos] for source in sources]

    def _call(self, function: Any, *arguments: Any) -> None:
        message = ctypes.create_string_buffer(500)
        if function(*arguments, message, len(message)):
            raise ValueError(message.value.decode())

    def _tensor(self, part: Part, precision: str) -> library.Tensor:
        values, name = part.values.numpy(), part.name.encode()
        if not part.matrix:
            return library.Tensor(name, 0, 1, len(values), self._kept(np.float32, values))
        packed = [array if array is None else self._kept(None, array) for array in pack(values, precision)]
        return library.Tensor(name, 1, *values.shape, *packed)

    def _kept(self, kind: Any, values: Any) -> int:
        """Address of an aligned copy that lives as long as the model."""
        array = np.asarray(values, kind)
        room = np.zeros(array.nbytes + 64, np.uint8)
        start = -room.ctypes.data % 64
        room[start : start + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        self.arrays.append(room)
        return room.ctypes.data + start


class Held:
    """Arrays of a call, and their addresses."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def array(self, kind: Any, values: Any) -> int:
        self.arrays.append(np.ascontiguousarray(values, kind))
        return self.arrays[-1].ctypes.data

    def lists(self, rows: Sequence[Sequence[int]]) -> library.Lists:
        if not rows:
            return library.Lists()
        ends = np.cumsum([len(row) for row in rows])
        return library.Lists(self.array(np.int32, [*chain.from_iterable(rows), 0]), self.array(np.int64, ends))

    def table(
        self, rows: Sequence[Sequence[int]], target_vocab: int, common: Sequence[int] = (), width: int = 2
    ) -> library.Shortlist:
        """The shortlist of a row of translations for each source id."""
        starts = self.array(np.int32, np.cumsum([0, *map(len, rows)]))
        targets = self.array(f"u{width}", [*chain.from_iterable(rows), 0])
        common_at = self.array(np.int32, [*common, 0])
        return library.Shortlist(starts, common_at, targets, width, len(common), len(rows), target_vocab)


def pack(matrix: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Weights, scale and correction, from the drawing in cpp/linear.h."""
    outputs, inputs = matrix.shape
    rows = -(-outputs // BLOCK) * BLOCK
    if precision != "int8":
        padded = np.zeros((rows, inputs), np.float32)
        padded[:outputs] = matrix
        if precision == "bfloat16":
            padded = (padded.view(np.uint32) >> 16).astype(np.uint16)
        return padded.reshape(-1, BLOCK, inputs).transpose(0, 2, 1), None, None
    scale = np.zeros(rows, np.float32)
    scale[:outputs] = np.abs(matrix).max(1) / np.float32(127)
    whole = np.zeros((rows, -(-inputs // 4) * 4), np.int8)
    whole[:outputs, :inputs] = np.rint(matrix / np.where(scale == 0, 1, scale)[:outputs, None])
    correction = -128 * whole.sum(1, dtype=np.int32)
    return whole.reshape(-1, BLOCK, whole.shape[1] // 4, 4).transpose(0, 2, 1, 3), scale, correction


def _settings(model: Model, family: str, precision: str) -> str:
    ids = model.target_ids
    values: dict[str, Any] = {**asdict(model.config), "family": family, "precision": precision}
    values |= {"source_eos": model.source_ids.eos, "iterations": getattr(model, "iterations", 0)}
    values |= {
        name: getattr(ids, name) for name in ("eos", "pad", "bos", "mask", "before_words", "never_written", "no_words")
    }
    return "".join(f"{key}={_written(value)}\n" for key, value in values.items() if value is not None)


def _written(value: Any) -> str:
    return (
        ",".join(map(str, value)) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)
    )


def _hypotheses(result: library.Result, number: int) -> Any:
    start = 0
    for i in range(number):
        end = result.ends[i]
        tokens = tuple(result.tokens[start:end])
        yield Hypothesis(tokens, result.log_probs[i], result.scores[i], result.passes[i], result.iterations[i])
        start = end


@cache
def engine_sets() -> list[str]:
    """The instruction sets of the engine that this machine runs, the best first, built if they are not; skips the test
    where there is no compiler."""
    try:
        build.build(FOLDER, sanitized=SANITIZED)
    except UserError as error:
        if "no C++ compiler" not in str(error):
            raise
        pytest.skip(str(error))
    return library.runnable(FOLDER / "kernels-portable.so")
