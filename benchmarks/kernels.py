"""How fast are the compiled engine's products, beside a plain read of the same memory? Prints, and writes nothing.

    python -m benchmarks.kernels [--precision int8|bfloat16|float32] [--repeats N]

Of each instruction set this machine runs: microseconds of a product y = x W' (best of the repeats), its operations a
second, and bytes of weights a second over those of a read. At one row a product cannot be faster than the read; with
many rows, arithmetic is the limit. Products of rows that a student of width 256 and a vocabulary of 8,000 has.
"""

from __future__ import annotations

import ctypes

import numpy as np

from evidence.script import arguments, execute, tell
from seqdistill.errors import UserError, nearest
from seqdistill.native import build, library
from seqdistill.runtime.exporting.packing import PACKINGS, Precision

SHAPES = [(768, 256, 1), (512, 128, 15), (256, 1024, 15), (8000, 256, 1), (8000, 256, 64)]
"""Outputs, inputs and rows."""
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
    kernels.sdt_linear.restype = kernels.sdt_read.restype = ctypes.c_double
    given = (ctypes.byref(matrix), ctypes.c_void_p(x.ctypes.data), rows, inputs, ctypes.c_void_p(y.ctypes.data))
    product = kernels.sdt_linear(*given, outputs, repeats)
    size = ctypes.c_uint64(packed.data.nbytes)
    plain = kernels.sdt_read(ctypes.c_void_p(address(packed.data)), size, ctypes.c_void_p(address(read)), repeats)
    return product, plain, packed.data.nbytes


def main() -> None:
    """Compares the sets."""
    given = arguments(__doc__, precision="int8", repeats=200).parse_args()
    if given.precision not in PRECISIONS:
        raise UserError(f"--precision {given.precision}: no such precision; {nearest(given.precision, PRECISIONS)}")
    paths = build.build(tests=True)
    tell(f"{'':14}{'outputs':>9}{'inputs':>8}{'rows':>6}{'us':>10}{'Gop/s':>9}{'GB/s':>8}{'of a read':>11}")
    for name in library.runnable(paths["portable"]):
        for shape in SHAPES:
            product, plain, size = timed(ctypes.CDLL(str(paths[name])), given.precision, shape, given.repeats)
            operations = 2 * shape[0] * shape[1] * shape[2] / product
            sizes = "".join(f"{number:>{width}}" for number, width in zip(shape, (9, 8, 6), strict=True))
            speeds = (
                f"{product * 1e6:>10.1f}{operations / 1e9:>9.0f}{size / product / 1e9:>8.1f}{plain / product:>11.2f}"
            )
            tell(f"{name:14}{sizes}{speeds}")


if __name__ == "__main__":
    execute(main)
