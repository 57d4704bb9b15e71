"""The engine's shortlists of sentences, beside Python's sets."""

from __future__ import annotations

import ctypes

import numpy as np
from compiled import Held

from seqdistill.native import library
from seqdistill.native.shortlist import ShortlistTable


def test_the_engine_finds_the_unions_that_python_finds(kernels: dict[str, ctypes.CDLL]) -> None:
    draw = np.random.default_rng(3)
    for vocabulary in (5, 64, 65, 1000, 70_000):
        rows = [sorted(set(draw.integers(0, vocabulary, draw.integers(0, 9)).tolist())) for _ in range(40)]
        common = sorted(set(draw.integers(0, vocabulary, 7).tolist()))
        batch = [draw.integers(0, len(rows), draw.integers(0, 30)).tolist() for _ in range(12)]
        expected = [sorted({*common, *(token for word in sentence for token in rows[word])}) for sentence in batch]
        starts = np.cumsum([0, *map(len, rows)]).tolist()
        python = ShortlistTable(starts, common, [token for row in rows for token in row])
        assert [python.of(sentence) for sentence in batch] == expected
        for engine in kernels.values():
            for width in (2, 4) if vocabulary <= 1 << 16 else (4,):
                held, found = Held(), library.Lists()
                table, sources = held.table(rows, vocabulary, common, width), held.lists(batch)
                number = engine.sdt_shortlists(
                    ctypes.byref(table), ctypes.byref(sources), len(batch), ctypes.byref(found)
                )
                ends = np.ctypeslib.as_array(ctypes.cast(found.ends, ctypes.POINTER(ctypes.c_int64)), (len(batch),))
                values = np.ctypeslib.as_array(ctypes.cast(found.values, ctypes.POINTER(ctypes.c_int32)), (number,))
                assert [row.tolist() for row in np.split(values, ends[:-1])] == expected
