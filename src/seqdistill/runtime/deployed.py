"""What a directory holds and which engines can run it: trained models and converted ones, as systems to be measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.exported import is_exported
from seqdistill.models.family import FAMILIES
from seqdistill.models.saved import TOKENIZER, family_of, load_model, model_directory
from seqdistill.native import library
from seqdistill.runtime.compiled_engine import compiled_engine, exported_engine
from seqdistill.runtime.conversion import LISTING
from seqdistill.runtime.conversions import converted, is_whole
from seqdistill.runtime.one_system import Place
from seqdistill.text.languages import Languages
from seqdistill.text.sources import default_cache
from seqdistill.vocabulary.vocabularies import Vocabularies

CONVERTED = "model.bin"
"""The weights in a directory of CTranslate2."""


class Deployed(NamedTuple):
    """A directory and what can be known of it without decoding."""

    directory: Path
    """As it was given."""
    places: dict[str, Place]
    """By the engines that can run it, the one it is deployed with first."""
    disk_mb: float
    """Of the files that the system needs, in MB of 10^6 bytes."""
    parameters: int | None
    lowercase: bool
    """Whether its outputs have no case."""
    languages: Languages


@contextmanager
def deployed(directory: Path, *, compute_type: str = "auto") -> Iterator[Deployed]:
    """What lies in a directory, as long as the context lasts: conversions are kept by then.

    Raises:
        UserError: no model lies there, or one that was altered.
    """
    with ExitStack() as kept:
        if is_exported(directory):
            yield _exported(directory, compute_type)
        elif (directory / CONVERTED).is_file():
            yield _converted(directory, compute_type)
        else:
            yield _trained(directory, compute_type, kept)


def _trained(directory: Path, compute_type: str, kept: ExitStack) -> Deployed:
    loaded = load_model(directory)
    folder = model_directory(directory)
    places = {"torch": Place("torch", str(folder), compute_type=compute_type, model=loaded.fingerprint)}
    exporters = FAMILIES[family_of(loaded.model)].exporters
    if "compiled" in exporters and library.missing() is None:
        exported = compiled_engine(loaded, compute_type=compute_type).student.exported.path
        places = {"compiled": Place("compiled", str(exported), compute_type=compute_type), **places}
    if "ctranslate2" in exporters:
        conversion = kept.enter_context(converted(loaded, default_cache()))
        place = Place("ctranslate2", str(conversion), str(folder / TOKENIZER), compute_type, loaded.fingerprint)
        places = {"ctranslate2": place, **places}
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    lowercase = loaded.tokenizers.target.lowercase
    return Deployed(directory, places, disk_mb(folder), parameters, lowercase, loaded.languages)


def _exported(directory: Path, compute_type: str) -> Deployed:
    engine = exported_engine(directory, compute_type=compute_type)
    place = Place("compiled", str(directory), compute_type=compute_type)
    parameters = engine.student.exported.description["parameters"]
    lowercase = engine.tokenizers.target.lowercase
    return Deployed(directory, {"compiled": place}, disk_mb(directory), parameters, lowercase, engine.languages)


def _converted(directory: Path, compute_type: str) -> Deployed:
    if not (directory / LISTING).is_file() or not (directory / TOKENIZER).is_dir():
        raise UserError(
            f"{directory}: holds a model of CTranslate2, but not {LISTING} and {TOKENIZER}/, without which it reads no "
            "text: give the trained model, or the directory that `export --to ctranslate2` wrote"
        )
    if not is_whole(directory):
        raise UserError(f"{directory}: was cut or altered since it was written; copy it again, or export it again")
    tokenizers = Vocabularies.load(directory / TOKENIZER)
    place = Place("ctranslate2", str(directory), str(directory / TOKENIZER), compute_type)
    places = {"ctranslate2": place}
    return Deployed(directory, places, disk_mb(directory), None, tokenizers.target.lowercase, Languages())


def disk_mb(folder: Path) -> float:
    """Size of the files in a folder, hidden ones apart, in MB of 10^6 bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sum(path.stat().st_size for path in files) / 1e6


class System(NamedTuple):
    """A directory with one engine."""

    name: str
    """As tables and plots call it."""
    engine: str
    place: Place
    deployed: Deployed


def systems_of(found: Sequence[Deployed], *, engine: str, every: bool) -> list[System]:
    """The systems to measure, in the order of their directories.

    Args:
        engine: the one for all; auto: the one that each is deployed with.
        every: each directory with all its engines.

    Raises:
        UserError: a directory twice; an engine that cannot run what lies in one.
    """
    names = names_of([each.directory for each in found])
    systems = []
    for name, each in zip(names, found, strict=True):
        if engine not in ("auto", *each.places):
            raise UserError(
                f"{each.directory}: the engine {engine} cannot run this model, but {' and '.join(each.places)} can: "
                "give that as --engine, or leave it out, and each model is run as it is deployed"
            )
        chosen = list(each.places) if every else [next(iter(each.places)) if engine == "auto" else engine]
        several = len(chosen) > 1
        systems += [System(f"{name}, {one}" if several else name, one, each.places[one], each) for one in chosen]
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
