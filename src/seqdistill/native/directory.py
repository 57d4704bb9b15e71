"""An exported model as it lies on disk: one directory that holds all, checked whole before anything of it is used.

    export.json     sealed: family, config, every tensor's place, hashes of the other files
    weights.bin     tensors as the kernels read them, each at a multiple of 64 bytes: mapped into memory, never copied
    tokenizer/      of both sides
    shortlist.bin   which target ids each source id needs; only where the export was asked for one

A directory whose hashes fit may still have been made by somebody else: every number that becomes an address or a size
is checked against the file it points into; shapes and settings are the engine's to check.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.exported import DESCRIPTION
from seqdistill.native.shortlist import SHORTLIST, ShortlistTable, read_table
from seqdistill.seals import check_description, check_file, read_sealed
from seqdistill.vocabulary.vocabularies import DESCRIPTION as TOKENIZER_DESCRIPTION
from seqdistill.vocabulary.vocabularies import Vocabularies
from seqdistill.vocabulary.vocabulary import Side, side_for_model

WEIGHTS, TOKENIZER = "weights.bin", "tokenizer"
FORMAT = 1
"""Of the directory; the program reads its own only."""
ALIGNMENT = 64
"""Bytes: a line of the cache, and the widest vector register."""
REMEDY = "copy the whole directory again, or export the model again"

VALUE_BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}
"""Of a weight of a matrix, by precision."""
TRAITS = ("non_autoregressive", "iterates", "inserts")
"""What decides which options of decoding a model has; see `models.traits`."""
_ROWS = 64
_MOST = 1 << 31
_KINDS: dict[str, type | tuple[type, ...]] = {
    "family": str,
    "precision": str,
    "model": str,
    "tokenizer": str,
    "traits": dict,
    "config": dict,
    "iterations": int,
    "parameters": int,
    "languages": dict,
    "tensors": list,
    "shortlist": (dict, type(None)),
    "files": dict,
}
"""What the description holds besides its format and the version that wrote it."""


_NONE = type(None)
_TENSOR_KINDS = ((str, bool, int, int, int, int, int), (str, bool, int, int, int, _NONE, _NONE))


class Tensor(NamedTuple):
    """Where a tensor lies in the weights; offsets in bytes, None where it has no such part."""

    name: str
    matrix: bool
    """Packed, as `exporting.packing` draws it; otherwise a vector of float32, its length in `columns`."""
    rows: int
    columns: int
    data: int
    scale: int | None = None
    correction: int | None = None

    def parts(self, precision: str) -> Iterator[tuple[int, int]]:
        """Offset and bytes of each part.

        Raises:
            ValueError: a matrix in int8 without scale, or the like.
        """
        if not self.matrix:
            yield self.data, 4 * self.columns
            return
        rows = -(-self.rows // _ROWS) * _ROWS
        columns = -(-self.columns // 4) * 4 if precision == "int8" else self.columns
        yield self.data, rows * columns * VALUE_BYTES[precision]
        if (precision == "int8") != (self.scale is not None and self.correction is not None):
            raise ValueError("scale and correction belong to matrices in int8")
        for offset in (self.scale, self.correction):
            if offset is not None:
                yield offset, 4 * rows


class Exported(NamedTuple):
    """An opened directory."""

    path: Path
    description: Mapping[str, Any]
    tokenizers: Vocabularies
    tensors: list[Tensor]
    weights: mmap.mmap
    shortlist: ShortlistTable | None

    @property
    def sides(self) -> tuple[Side, Side]:
        """Ids and sizes that the model was made for."""
        return _sides(self.tokenizers, self.description["traits"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the output: the trained model, the precision, and the shortlist."""
        found = self.description
        shortlist = {"shortlist": found["files"][SHORTLIST]} if self.shortlist else {}
        return {"engine": "compiled", "model": found["model"], "precision": found["precision"]} | shortlist

    def settings(self) -> str:
        """What the engine is told of the model: a line `key=value` each."""
        source, target = (side.ids for side in self.sides)
        values: dict[str, Any] = {
            **self.description["config"],  # first, so that no field of it takes the place of what was checked
            "family": self.description["family"],
            "precision": self.description["precision"],
            "iterations": self.description["iterations"],
            "source_eos": source.eos,
            "source_pad": source.pad,
            **{name: getattr(target, name) for name in ("eos", "pad", "bos", "unk", "mask")},
            **{name: getattr(target, name) for name in ("before_words", "never_written", "no_words")},
        }
        return "".join(f"{key}={_written(value)}\n" for key, value in values.items() if value is not None)


def open_exported(directory: Path) -> Exported:
    """Reads and checks a directory; its weights stay on disk until they are used.

    Raises:
        UserError: a file is missing, cut or altered, or of another format; names it.
    """
    path = directory / DESCRIPTION
    found = read_sealed(path, remedy=REMEDY)
    _check_description(found, path)
    shortlisted = [SHORTLIST] if found["shortlist"] else []
    for name in (WEIGHTS, f"{TOKENIZER}/{TOKENIZER_DESCRIPTION}", *shortlisted):
        expected = found["files"].get(name)
        check_file(directory / name, str(expected), remedy=REMEDY)
    tokenizers = Vocabularies.load(directory / TOKENIZER)
    if tokenizers.fingerprint != found["tokenizer"]:
        raise UserError(f"{directory / TOKENIZER}: is not the tokenizer of this model; {REMEDY}")
    sides = _sides(tokenizers, found["traits"])
    for name, side in zip(("source_vocab", "target_vocab"), sides, strict=True):
        if found["config"].get(name) != side.size:
            raise UserError(
                f"{path}: {name} is {found['config'].get(name)!r}, but the tokenizer has {side.size}; {REMEDY}"
            )
    with (directory / WEIGHTS).open("rb") as file:
        try:
            # Private and writable in name only: nothing writes, so pages stay the file's and are shared by processes.
            weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError:
            raise UserError(f"{directory / WEIGHTS}: is empty; {REMEDY}") from None
    tensors = _tensors(found, weights, path)
    table = read_table(directory, found["shortlist"], sources=sides[0].size, targets=sides[1].size, remedy=REMEDY)
    return Exported(directory, found, tokenizers, tensors, weights, table)


def _check_description(found: Mapping[str, Any], path: Path) -> None:
    check_description(found, path, version=FORMAT, kinds=_KINDS, remedy=REMEDY)
    if any(type(found["traits"].get(name)) is not bool for name in TRAITS):
        raise UserError(f"{path}: traits: expected {', '.join(TRAITS)}, each true or false; {REMEDY}")
    if found["precision"] not in VALUE_BYTES:
        raise UserError(f"{path}: unknown precision {found['precision']!r}; {REMEDY}")
    for key, value in {**found["config"], "family": found["family"]}.items():
        # The engine is told a line each: one more, hidden in a value, would tell it of another precision or size.
        if not isinstance(value, str | int | float) or not f"{key}{value}".isprintable() or "=" in key:
            raise UserError(f"{path}: config: {key!r} is {value!r}, which is no setting; {REMEDY}")


def _sides(tokenizers: Vocabularies, traits: Mapping[str, Any]) -> tuple[Side, Side]:
    mask = traits["non_autoregressive"]
    return side_for_model(tokenizers.source, mask=mask), side_for_model(tokenizers.target, mask=mask)


def _tensors(found: Mapping[str, Any], weights: mmap.mmap, path: Path) -> list[Tensor]:
    """The tensors of the description, each with all its parts within the weights."""
    tensors: dict[str, Tensor] = {}
    for row in found["tensors"]:
        try:
            tensor = Tensor(**row)
            kinds = tuple(map(type, tensor))
            if kinds not in _TENSOR_KINDS or tensor.name in tensors or not tensor.name.isprintable():
                raise ValueError("not the names and numbers of a tensor")
            if not (0 < tensor.rows < _MOST and 0 < tensor.columns < _MOST):
                raise ValueError(f"{tensor.rows} x {tensor.columns}")
            for offset, size in tensor.parts(found["precision"]):
                if offset % ALIGNMENT or not 0 <= offset <= len(weights) - size:
                    raise ValueError(f"{size} bytes at {offset} of {len(weights)}")
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: a tensor that is none ({error}); {REMEDY}") from None
        for offset, size in tensor.parts(found["precision"]):
            if (offset != tensor.data or not tensor.matrix) and offset != tensor.correction:
                _check_finite(memoryview(weights)[offset : offset + size].cast("f"), tensor.name, path)
        tensors[tensor.name] = tensor
    return list(tensors.values())


def _check_finite(values: memoryview[float], name: str, path: Path) -> None:
    if not all(map(math.isfinite, values)):
        raise UserError(f"{path.parent / WEIGHTS}: {name} holds NaN or infinite numbers; {REMEDY}")


def _written(value: Any) -> str:
    """A setting as the engine reads it: truth as 1 or 0, lists with commas.

    >>> _written(True), _written((5, 2)), _written(0.5), _written("sru")
    ('1', '5,2', '0.5', 'sru')
    """
    if isinstance(value, bool):
        return str(int(value))
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
