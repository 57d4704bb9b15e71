"""The text that a `measure` stage read, found again: a shortlist needs its pieces, where the stage kept its words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.manifest import FINISHED, fingerprint, recorded, status
from seqdistill.options import AlignerOptions, MeasureOptions
from seqdistill.verbs.corpora import Corpus, corpora_to_measure

ALIGNED = "alignment.json"
"""Each measured corpus has a folder with one."""


class Measured(NamedTuple):
    """A corpus that was measured, and how it was aligned."""

    corpus: Corpus
    aligner: AlignerOptions


def places(settings: MeasureOptions, out: Path) -> dict[str, Any]:
    """Where the inputs of a `measure` lie as seen from its directory, so that all can be moved together."""
    base = out.resolve()

    def seen(path: Path) -> str:
        return os.path.relpath(path.resolve(), base)

    found = {name: getattr(settings, name) for name in settings.inputs}
    return {
        name: [seen(path) for path in value] if isinstance(value, list) else seen(value)
        for name, value in found.items()
        if value
    }


def is_measured(path: Path) -> bool:
    """Whether a directory is that of a finished `measure`, or of one of its corpora."""
    return _stage_of(path) is not None


def measured_corpus(path: Path) -> Measured:
    """The corpus of a `measure` directory that was distilled, or is the only one; or that whose folder is given.

    Raises:
        UserError: several corpora; text that is not where it was, or no longer what was measured; a record without
            the text's place, of an earlier version.
    """
    stage = _stage_of(path)
    assert stage is not None, f"{path} is no measure"
    manifest = recorded(stage)
    if "places" not in manifest["results"]:
        raise UserError(
            f"{stage}: was measured by an earlier version, which did not record where its text lies: give the data "
            "directory itself"
        )
    settings = _settings(manifest, stage)
    names = [row["corpus"] for row in manifest["results"]["corpora"]]
    name = path.name if path != stage else _only(names, stage, distilled=settings.real is not None)
    _check_unchanged(settings, manifest, stage)
    corpora = corpora_to_measure(settings)[1]  # in the order of their rows
    return Measured(corpora[names.index(name)], settings)


def _stage_of(path: Path) -> Path | None:
    candidates = [path, path.parent] if (path / ALIGNED).is_file() else [path]
    for directory in candidates:
        if status(directory) == "finished" and recorded(directory)["kind"] == "measure":
            return directory
    return None


def _settings(manifest: Mapping[str, Any], stage: Path) -> MeasureOptions:
    """The options of a finished stage, with its inputs as paths."""
    found = {
        name: [stage / each for each in value] if isinstance(value, list) else stage / value
        for name, value in manifest["results"]["places"].items()
    }
    return MeasureOptions.read({**manifest["options"], **found}, where=str(stage / FINISHED))


def _only(names: list[str], stage: Path, *, distilled: bool) -> str:
    wanted = names[distilled:] or names  # the real corpus comes first
    if len(wanted) != 1:
        raise UserError(
            f"{stage}: {len(wanted)} corpora were measured there, and a shortlist is of one: give "
            f"{' or '.join(str(stage / name) for name in wanted)}"
        )
    return wanted[0]


def _check_unchanged(settings: MeasureOptions, manifest: Mapping[str, Any], stage: Path) -> None:
    for name, path in settings.given_inputs():
        if not path.exists():
            raise UserError(
                f"{stage}: its text is no longer at {path}: give the data directory itself, wherever it is now, or "
                "measure again"
            )
        if fingerprint(path) != manifest["inputs"].get(name):
            raise UserError(
                f"{path}: is not what was measured in {stage}: measure it again, or give the data directory"
            )
