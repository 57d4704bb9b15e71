"""Finds and opens the compiled engine: the library of the best instruction set that this machine runs.

`ctypes.CDLL` releases the interpreter's lock during calls, so threads translate side by side.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from pathlib import Path

from seqdistill.errors import UserError, nearest

CPP, LIB = Path(__file__).with_name("cpp"), Path(__file__).with_name("lib")
"""The engine's sources, and where `build` puts the libraries."""


class Tensor(ctypes.Structure):
    """`struct SdTensor` of cpp/api.h; its arrays must stay as long as the model."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("correction", ctypes.c_void_p),
    )


class Lists(ctypes.Structure):
    """`struct SdLists`: values in int32, ends in int64; both None where no lists are given."""

    _fields_ = (("values", ctypes.c_void_p), ("ends", ctypes.c_void_p))


class Request(ctypes.Structure):
    """`struct SdRequest`; see there."""

    _fields_ = (
        ("sentences", ctypes.c_int32),
        ("sources", Lists),
        ("prefixes", Lists),
        ("allowed", Lists),
        ("shortlist", ctypes.c_void_p),
        ("limits", ctypes.c_void_p),
        ("beam", ctypes.c_int32),
        ("n_best", ctypes.c_int32),
        ("no_repeat_ngram", ctypes.c_int32),
        ("min_length", ctypes.c_int32),
        ("iterations", ctypes.c_int32),
        ("scores", ctypes.c_int32),
        ("length_penalty", ctypes.c_double),
        ("penalty", ctypes.c_double),
    )


class Shortlist(ctypes.Structure):
    """`struct SdShortlist` of cpp/shortlist.h."""

    _fields_ = (
        ("starts", ctypes.c_void_p),
        ("common", ctypes.c_void_p),
        ("targets", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("common_count", ctypes.c_int32),
        ("source_vocab", ctypes.c_int32),
        ("target_vocab", ctypes.c_int32),
    )


class Result(ctypes.Structure):
    """`struct SdResult`: arrays of the workspace, valid until its next call."""

    _fields_ = (
        ("tokens", ctypes.POINTER(ctypes.c_int32)),
        ("ends", ctypes.POINTER(ctypes.c_int64)),
        ("counts", ctypes.POINTER(ctypes.c_int32)),
        ("log_probs", ctypes.POINTER(ctypes.c_double)),
        ("scores", ctypes.POINTER(ctypes.c_double)),
        ("passes", ctypes.POINTER(ctypes.c_int32)),
        ("iterations", ctypes.POINTER(ctypes.c_int32)),
    )


_ERROR = (ctypes.c_char_p, ctypes.c_int32)
_ARGUMENTS = {
    "sd_model_new": (
        ctypes.c_char_p,
        ctypes.POINTER(Tensor),
        ctypes.c_int32,
        ctypes.POINTER(ctypes.c_void_p),
        *_ERROR,
    ),
    "sd_model_free": (ctypes.c_void_p,),
    "sd_workspace_new": (ctypes.POINTER(ctypes.c_void_p),),
    "sd_workspace_free": (ctypes.c_void_p,),
    "sd_decode": (ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(Request), ctypes.POINTER(Result), *_ERROR),
    "sd_score": (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.POINTER(Lists),
        ctypes.POINTER(Lists),
        ctypes.POINTER(ctypes.c_double),
        *_ERROR,
    ),
    "sd_instructions": (),
    "sd_runnable": (),
    "sd_sources": (),
}
_RESULTS = {
    "sd_model_free": None,
    "sd_workspace_free": None,
    "sd_instructions": ctypes.c_char_p,
    "sd_runnable": ctypes.c_char_p,
    "sd_sources": ctypes.c_char_p,
}
"""Of functions that return no error code."""

VARIABLE = "SEQDISTILL_INSTRUCTIONS"
"""Environment variable that names the instruction set to use."""


def missing(lib: Path = LIB) -> str | None:
    """Why there is no compiled engine here, and what to do; None where there is one."""
    if (lib / "kernels-portable.so").exists():
        return None
    return (
        f"the compiled engine is not built: {lib} has no kernels-portable.so, which installing makes where it finds a "
        "C++ compiler; run `python -m seqdistill.native.build` (with g++, clang++, or after `pip install ziglang`)"
    )


def runnable(portable: Path = LIB / "kernels-portable.so") -> list[str]:
    """Instruction sets that this machine runs, the best first, as the portable library finds them."""
    ask = opened(portable).sd_runnable
    ask.restype = ctypes.c_char_p
    return ask().decode().split(",")


def chosen(lib: Path = LIB) -> str:
    """The instruction set to use: the one that $SEQDISTILL_INSTRUCTIONS names, else the best that is built and runs.

    Raises:
        UserError: no engine is built, or the named set is unknown, not built, or not of this machine.
    """
    if reason := missing(lib):
        raise UserError(reason)
    possible = [name for name in runnable(lib / "kernels-portable.so") if (lib / f"kernels-{name}.so").exists()]
    named = os.environ.get(VARIABLE)
    if not named:
        return possible[0]
    if named not in possible:
        raise UserError(
            f"{VARIABLE}={named}: this machine runs {', '.join(possible)} of the engine; {nearest(named, possible)}"
        )
    return named


def opened(path: Path) -> ctypes.CDLL:
    """Opens a library.

    Raises:
        UserError: it does not fit this system.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened ({error}); build it for this machine with `python -m seqdistill.native.build`"
        ) from error


def digest_of_sources(cpp: Path | None = None) -> str:
    """Hash of the engine's sources, which `build` writes into the libraries; "" where the sources are not there."""
    digest, folder = hashlib.sha256(), cpp or CPP
    paths = sorted([*folder.glob("*.h"), *folder.glob("*.cpp")])
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if paths else ""


@functools.cache
def engine(instructions: str | None = None, lib: Path = LIB) -> ctypes.CDLL:
    """The library of a set, or of `chosen()`, with the functions of cpp/api.h declared; opened once a process.

    Raises:
        UserError: as `chosen` and `opened`; the sources have changed since it was built.
    """
    path = lib / f"kernels-{instructions or chosen(lib)}.so"
    library = opened(path)
    for name, arguments in _ARGUMENTS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise UserError(
                f"{path}: was built from another version of seqdistill; run `python -m seqdistill.native.build` again"
            ) from None
        function.argtypes, function.restype = arguments, _RESULTS.get(name, ctypes.c_int)
    # A millisecond, of which no caller would know when to leave it out.
    if (sources := digest_of_sources()) and library.sd_sources().decode() != sources:
        raise UserError(
            f"{path}: the sources in {CPP} have changed since it was built; run `python -m seqdistill.native.build` "
            "again"
        )
    return library
