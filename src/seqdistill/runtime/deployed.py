"""What a directory holds and which engines can run it: trained models and converted ones, as systems to be measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.exported import VERIFIED, exported_for, is_exported
from seqdistill.manifest import FINISHED
from seqdistill.models.family import FAMILIES
from seqdistill.models.saved import TOKENIZER, family_of, load_model, model_directory
from seqdistill.native import library
from seqdistill.runtime.compiled_engine import kept_export
from seqdistill.runtime.conversions import converted
from seqdistill.runtime.converted import open_converted
from seqdistill.runtime.ctranslate2_engine import checked_compute_type, precision_of
from seqdistill.runtime.exported_engine import exported_engine
from seqdistill.runtime.one_system import Place
from seqdistill.text.languages import Languages
from seqdistill.text.sources import default_cache


class Deployed(NamedTuple):
    """A directory and what can be known of it without decoding."""

    directory: Path
    """As it was given."""
    places: dict[str, Place]
    """By the engines that are to run it."""
    parameters: int
    lowercase: bool
    """Whether its outputs have no case."""
    languages: Languages
    note: str = ""
    """What whoever reads its figures must know."""


class Asked(NamedTuple):
    """How directories are to be run."""

    engine: str = "auto"
    """The one for all; auto: the one that each is deployed with."""
    every: bool = False
    """By all engines that can."""
    compute_type: str = "auto"

    def chosen(self, directory: Path, engines: Sequence[str]) -> list[str]:
        """The engines to run a directory with, of those that can, the one it is deployed with first.

        Raises:
            UserError: the engine asked for cannot.
        """
        if self.engine not in ("auto", *engines):
            raise UserError(
                f"{directory}: the engine {self.engine} cannot run this model, but {' and '.join(engines)} can: give "
                "that as --engine, or leave it out, and each model is run as it is deployed"
            )
        if self.every:
            return list(engines)
        return [engines[0] if self.engine == "auto" else self.engine]


@contextmanager
def deployed(directory: Path, asked: Asked | None = None) -> Iterator[Deployed]:
    """What lies in a directory, as long as the context lasts: conversions are kept by then.

    Raises:
        UserError: no model lies there, or one that was altered, or that the engine asked for cannot run.
    """
    asked = asked or Asked()
    with ExitStack() as kept:
        if is_exported(directory):
            yield _exported(directory, asked)
        elif exported_for(directory):
            yield _converted(directory, asked)
        else:
            yield _trained(directory, asked, kept)


def _trained(directory: Path, asked: Asked, kept: ExitStack) -> Deployed:
    loaded, folder = load_model(directory), model_directory(directory)
    exporters = FAMILIES[family_of(loaded.model)].exporters
    missing = library.missing() if "compiled" in exporters else None
    if missing and asked.engine == "compiled":
        raise UserError(f"{directory}: {missing}")
    there = {"ctranslate2": True, "compiled": not missing}
    engines = [name for name, is_there in there.items() if is_there and name in exporters]
    wanted = asked.every or (asked.engine == "auto" and not engines)
    note = f"{directory}: not measured in the compiled engine, which can run it: {missing}"
    places = {}
    for engine in asked.chosen(directory, [*engines, "torch"]):
        place = Place(engine, str(folder), str(folder / TOKENIZER), asked.compute_type, loaded.fingerprint)
        if engine == "ctranslate2":
            precision = checked_compute_type(asked.compute_type)
            made = kept.enter_context(converted(loaded, default_cache(), precision=precision))
            place = place._replace(folder=str(made), tokenizer=str(made / TOKENIZER), compute_type=precision)
        elif engine == "compiled":
            place = place._replace(folder=str(kept.enter_context(kept_export(loaded, compute_type=asked.compute_type))))
        places[engine] = place
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    lowercase = loaded.tokenizers.target.lowercase
    return Deployed(directory, places, parameters, lowercase, loaded.languages, note if missing and wanted else "")


def _exported(directory: Path, asked: Asked) -> Deployed:
    (name,) = asked.chosen(directory, ["compiled"])
    engine = exported_engine(directory, compute_type=asked.compute_type)
    place = Place(name, str(directory), compute_type=asked.compute_type)
    lowercase = engine.tokenizers.target.lowercase
    return Deployed(directory, {name: place}, engine.parameters, lowercase, engine.languages)


def _converted(directory: Path, asked: Asked) -> Deployed:
    (name,) = asked.chosen(directory, ["ctranslate2"])
    found = open_converted(directory)
    precision = precision_of(found, asked.compute_type)
    place = Place(name, str(directory), str(directory / TOKENIZER), precision, found.model, found.vmap)
    return Deployed(directory, {name: place}, found.parameters, found.tokenizers.target.lowercase, found.languages)


def disk_mb(folder: Path) -> float:
    """Size of the files that an engine reads of a model's folder, in MB of 10^6 bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sum(path.stat().st_size for path in files if path.name not in (FINISHED, VERIFIED)) / 1e6


class System(NamedTuple):
    """A directory with one engine."""

    name: str
    """As tables and plots call it."""
    place: Place
    deployed: Deployed

    @property
    def disk_mb(self) -> float:
        """Of the files that its engine reads, of a trained model those of its conversion, in MB of 10^6 bytes."""
        return disk_mb(Path(self.place.folder))


def systems_of(found: Sequence[Deployed]) -> list[System]:
    """A system for each directory and each engine that runs it, in their order.

    Raises:
        UserError: a directory twice.
    """
    systems = []
    for name, each in zip(names_of([each.directory for each in found]), found, strict=True):
        several = len(each.places) > 1
        systems += [System(f"{name}, {engine}" * several or name, place, each) for engine, place in each.places.items()]
    return systems


def names_of(directories: Sequence[Path]) -> list[str]:
    """Names that tell directories apart: as many of the last parts of their paths as that takes.

    Raises:
        UserError: one is given twice.

    >>> names_of([Path("runs/a/student"), Path("runs/b/student"), Path("runs/a/teacher")])
    ['a/student', 'b/student', 'teacher']
    """
    places = [directory.resolve() for directory in directories]
    for directory, place in zip(directories, places, strict=True):
        if places.count(place) > 1:
            raise UserError(
                f"{directory}: is given twice; each model is measured once, with --every-engine on each engine"
            )

    paths = [Path(os.path.abspath(directory)).parts for directory in directories]  # noqa: PTH100 - keeps links' names

    def name(parts: tuple[str, ...], length: int) -> str:
        shared = [other for other in paths if other[-length:] == parts[-length:]]
        return "/".join(parts[-length:]) if len(shared) == 1 else name(parts, length + 1)

    return [name(parts, 1) for parts in paths]
