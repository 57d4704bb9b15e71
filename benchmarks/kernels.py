"""How fast are the compiled engine's products, beside what this machine can do at all: writes bench-kernels.

    python -m benchmarks.kernels [--precision int8|bfloat16|float32] [--repeats N] [--run runs/demo] [--sentences 100]

Of each instruction set this machine runs: microseconds of a product y = x W' (best of the repeats), its operations a
second, and its weights' bytes a second. A product cannot be faster than a plain read of its weights, from cache where
they fit, nor than its operations at the greatest rate that any product here reaches; `of_limit` is the longer of these
two times over the product's own, and `of_memory_read` the time of a read from memory over it. Products of a student of
width 256 with a vocabulary of 8,000: a step for one sentence has one row, its encoder 15.

With --run, the first exported model of a finished recipe: where the time of its test sentences goes, one by one; see
benchmarks/sentence.py. Writes bench-sentence beside it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import sentence
from evidence.script import arguments, execute, record, tell
from seqdistill.errors import UserError, nearest
from seqdistill.native import build, library
from seqdistill.native.student import Student
from seqdistill.runtime.exporting.packing import PACKINGS, Precision

SHAPES = [
    (768, 256, 1),
    (1024, 256, 1),
    (256, 1024, 1),
    (500, 256, 1),
    (8000, 256, 1),
    (768, 256, 15),
    (256, 1024, 15),
    (256, 256, 64),
    (8000, 256, 64),
]
"""Outputs, inputs and rows: of one row the products of a step, with a shortlist of 500 and without one."""
MEMORY_BYTES = 1 << 28
"""More than caches hold."""
CLAIM = (
    "Products of a student of width 256 in the compiled engine, one thread, against the machine's limits: a plain read "
    "of the same weights, the same from memory, and the greatest rate of operations that any product reaches"
)
PRECISIONS: tuple[Precision, ...] = ("int8", "bfloat16", "float32")
"""In the order of `enum Precision` of cpp/linear.h."""


class Linear(ctypes.Structure):
    """`struct Linear` of cpp/linear.h."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("precision", "outputs", "inputs")),
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "correction", "bias")),
    )


def address(array: np.ndarray | None) -> int | None:
    """Where an array's numbers lie."""
    return None if array is None else array.ctypes.data


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes, as in an exported directory."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def timed(
    kernels: ctypes.CDLL, precision: Precision, shape: tuple[int, int, int], repeats: int
) -> tuple[float, float, int]:
    """Seconds of a product and of a read of its weights, and their bytes."""
    outputs, inputs, rows = shape
    rng = np.random.default_rng(0)
    packed = PACKINGS[precision](rng.normal(size=(outputs, inputs)))
    packed = packed._replace(data=aligned(packed.data))
    matrix = Linear(PRECISIONS.index(precision), outputs, inputs, *map(address, packed), None)
    x, y = rng.normal(size=(rows, inputs)).astype(np.float32), np.empty((rows, outputs), np.float32)
    read = np.empty(128, np.int32)
    given = (ctypes.byref(matrix), ctypes.c_void_p(x.ctypes.data), rows, inputs, ctypes.c_void_p(y.ctypes.data))
    product = kernels.sdt_linear(*given, outputs, repeats)
    size = ctypes.c_uint64(packed.data.nbytes)
    plain = kernels.sdt_read(ctypes.c_void_p(address(packed.data)), size, ctypes.c_void_p(address(read)), repeats)
    return product, plain, packed.data.nbytes


class Product(NamedTuple):
    """A product and its limits on one instruction set; seconds."""

    shape: tuple[int, int, int]
    seconds: float
    read: float
    """A plain read of the weights, from cache if they fit there."""
    size: int
    """Bytes of the weights."""

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.shape[0] * self.shape[1] * self.shape[2]

    def limit(self, rate: float) -> float:
        """Seconds that it takes at least, at `rate` operations a second."""
        return max(self.read, self.operations / rate)


def byte_seconds(kernels: ctypes.CDLL, size: int, repeats: int) -> float:
    """Of reading a byte where `size` bytes are read in turn: from the cache that holds them, or from memory."""
    room, read = np.ones(-(-size // 512) * 512, np.int8), np.empty(128, np.int32)
    given = (ctypes.c_void_p(address(room)), ctypes.c_uint64(room.nbytes), ctypes.c_void_p(address(read)), repeats)
    return kernels.sdt_read(*given) / room.nbytes


def products_of(kernels: ctypes.CDLL, precision: Precision, repeats: int) -> list[Product]:
    """Every product of SHAPES."""
    return [Product(shape, *timed(kernels, precision, shape, repeats)) for shape in SHAPES]


def rate_of(products: Sequence[Product]) -> float:
    """The most operations a second of any."""
    return max(each.operations / each.seconds for each in products)


def limits_of(student: Student, kernels: ctypes.CDLL, repeats: int) -> sentence.Limits:
    """Of products in its precision, and of reads of as many bytes as it has."""
    products = products_of(kernels, student.exported.description["precision"], repeats)
    return sentence.Limits(rate_of(products), 1 / byte_seconds(kernels, len(student.exported.weights), repeats))


def rows_of(name: str, products: Sequence[Product], from_memory: float) -> list[dict[str, str | float]]:
    """A row for each product of an instruction set.

    Args:
        from_memory: seconds of reading a byte.
    """
    rate = rate_of(products)
    return [
        {
            "instructions": name,
            **dict(zip(("outputs", "inputs", "rows"), each.shape, strict=True)),
            "microseconds": round(each.seconds * 1e6, 2),
            "gop_per_second": round(each.operations / each.seconds / 1e9, 1),
            "gb_per_second": round(each.size / each.seconds / 1e9, 2),
            "of_limit": round(each.limit(rate) / each.seconds, 3),
            "of_memory_read": round(each.size * from_memory / each.seconds, 3),
        }
        for each in products
    ]


def figures_of(name: str, products: Sequence[Product]) -> dict[str, float]:
    """The greatest rate, and of products of one row together: the time of plain reads over theirs."""
    single = [each for each in products if each.shape[2] == 1]
    return {
        f"{name}_gop_per_second": rate_of(products) / 1e9,
        f"{name}_step_of_a_read": sum(each.read for each in single) / sum(each.seconds for each in single),
    }


def main() -> None:
    """Measures the sets, and sentences if a run is given."""
    given = arguments(__doc__, precision="int8", repeats=200, run=Path(), sentences=100).parse_args()
    if given.precision not in PRECISIONS:
        raise UserError(f"--precision {given.precision}: no such precision; {nearest(given.precision, PRECISIONS)}")
    student, lines = sentence.opened(given.run, given.sentences) if given.run != Path() else (None, [])
    paths = build.build(tests=True)
    figures: dict[str, float] = {}
    rows: list[dict[str, str | float]] = []
    names = library.runnable(paths["portable"])
    kernels = {name: ctypes.CDLL(str(paths[name])) for name in names}
    for opened in kernels.values():
        opened.sdt_linear.restype = opened.sdt_read.restype = ctypes.c_double
    from_memory = byte_seconds(kernels[names[0]], MEMORY_BYTES, max(1, given.repeats // 50))
    for name in names:
        tell(f"measuring {name}")
        products = products_of(kernels[name], given.precision, given.repeats)
        rows += rows_of(name, products, from_memory)
        figures |= figures_of(name, products)
    figures["memory_gb_per_second"] = 1 / from_memory / 1e9
    record("bench-kernels", given, claim=CLAIM, figures=figures, rows=rows)
    if student is not None:
        limits = limits_of(student, kernels[student.model.instructions], given.repeats)
        claim, found, parts = sentence.profile(student, lines, limits, repeats=max(1, given.repeats // 10))
        record("bench-sentence", given, claim=claim, figures=found, rows=parts)


if __name__ == "__main__":
    execute(main)
