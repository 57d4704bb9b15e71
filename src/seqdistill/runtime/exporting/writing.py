"""A trained model written as an exported directory: packed once, so that loading maps a file and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from seqdistill.errors import UserError
from seqdistill.exported import DESCRIPTION
from seqdistill.files import written_beside
from seqdistill.models.family import FAMILIES, exporter
from seqdistill.models.saved import LoadedModel, family_of
from seqdistill.native.directory import ALIGNMENT, FORMAT, TOKENIZER, WEIGHTS, Tensor
from seqdistill.native.shortlist import SHORTLIST
from seqdistill.runtime.exporting.packing import PACKINGS, Precision
from seqdistill.runtime.exporting.parts import Part
from seqdistill.runtime.shortlists import Shortlist
from seqdistill.seals import listing, write_sealed
from seqdistill.vocabulary.vocabularies import DESCRIPTION as TOKENIZER_DESCRIPTION

ENGINE = "compiled"


def write_exported(
    loaded: LoadedModel, directory: Path, *, precision: Precision, shortlist: Shortlist | None = None
) -> None:
    """Writes the model for the compiled engine; each file is whole or absent, `export.json` comes last.

    Raises:
        UserError: the engine does not run the model's family; a shortlist of another vocabulary; the disk is full.
    """
    family, model = family_of(loaded.model), loaded.model
    parts = exporter(family, ENGINE)(model)
    if shortlist is not None:
        shortlist.check(loaded.tokenizers)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DESCRIPTION).unlink(missing_ok=True)
    loaded.tokenizers.save(directory / TOKENIZER)
    with written_beside(directory / WEIGHTS) as beside, beside.open("wb") as file:
        tensors = _write_tensors(file, parts, precision)
    if shortlist is not None:
        with written_beside(directory / SHORTLIST) as beside:
            sizes = loaded.config.source_vocab, loaded.config.target_vocab
            beside.write_bytes(shortlist.as_bytes(sources=sizes[0], targets=sizes[1]))
    names = [WEIGHTS, f"{TOKENIZER}/{TOKENIZER_DESCRIPTION}", *([SHORTLIST] if shortlist else [])]
    description: dict[str, Any] = {
        "format": FORMAT,
        **loaded.described(),
        "precision": precision,
        "traits": asdict(FAMILIES[family].traits),
        "config": asdict(loaded.config),
        "iterations": getattr(model, "iterations", 0),
        "tensors": [tensor._asdict() for tensor in tensors],
        "shortlist": shortlist.counts() if shortlist else None,
        "files": listing(directory, names),
    }
    write_sealed(directory / DESCRIPTION, description)


def _write_tensors(file: BinaryIO, parts: Iterable[Part], precision: Precision) -> list[Tensor]:
    """Writes every part at a multiple of ALIGNMENT; where each lies."""

    def written(values: np.ndarray) -> int:
        start = -(-file.tell() // ALIGNMENT) * ALIGNMENT
        file.write(bytes(start - file.tell()))
        file.write(np.ascontiguousarray(values).data)
        return start

    tensors, names = [], set[str]()
    for part in parts:
        assert part.name not in names, f"two parts are called {part.name}"
        names.add(part.name)
        values = part.values.to("cpu", torch.float32).numpy()
        if not np.isfinite(values).all():
            raise UserError(f"{part.name} holds NaN or infinite numbers, which no engine runs: train the model again")
        if part.matrix:
            rows, columns = values.shape
            data, scale, correction = PACKINGS[precision](values)
            tensor = Tensor(part.name, True, rows, columns, written(data))
            if scale is not None and correction is not None:
                tensor = tensor._replace(scale=written(scale), correction=written(correction))
            tensors.append(tensor)
        else:
            tensors.append(Tensor(part.name, False, 1, len(values), written(values)))
    return tensors
