"""Systems that benchmarks/runtime.py measures: students of a finished recipe, exported, and made-up Transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.decoding_model import make_model, make_sources, make_tokenizers
from evidence.script import tell
from seqdistill.manifest import recorded, recorded_fingerprint, status
from seqdistill.models.family import FAMILIES, family_named
from seqdistill.models.saved import load_model, save_model
from seqdistill.native import library
from seqdistill.options import ExportOptions
from seqdistill.progress import Silent
from seqdistill.runtime.deployed import Asked, deployed, disk_mb
from seqdistill.runtime.exporting.packing import Precision
from seqdistill.runtime.one_system import Place
from seqdistill.stages import run_stage


class Case(NamedTuple):
    """A system, and how it decodes."""

    name: str
    place: Place
    beam: int
    disk_mb: float


class Training(NamedTuple):
    """A finished training of a run."""

    name: str
    family: str
    width: int
    directory: Path
    data: Path | None
    """The data directory it learned from, if it lies in the same run."""


def trainings_of(run: Path) -> dict[str, Training]:
    """Finished trainings by name; none where there is no such run."""
    if not run.is_dir():
        return {}
    stages = {path: recorded(path) for path in sorted(run.iterdir()) if status(path) == "finished"}
    by_content = {recorded_fingerprint(manifest): path for path, manifest in stages.items()}
    found = {}
    for path, manifest in stages.items():
        if manifest["kind"] == "train":
            preset = manifest["options"]["model"]
            family = next(name for name, each in FAMILIES.items() if each is family_named(preset))
            width = load_model(path).config.dim
            data = by_content.get(manifest["inputs"]["data"])
            found[path.name] = Training(path.name, family, width, path, data)
    return found


def exported(training: Path, out: Path, *, precision: Precision = "int8", shortlist: Path | None = None) -> Path:
    """The directory of an export, made unless it is there."""
    tell(f"exporting {training} to {out}")
    settings = ExportOptions(model=training, precision=precision, shortlist=shortlist, verify_lines=0)
    run_stage("export", settings, out, Silent(), title="export")
    return out


def case_of(directory: Path, name: str, stack: ExitStack, *, beam: int = 1, engine: str = "auto") -> Case:
    """A directory with one engine, by default the one that it is deployed with."""
    found = stack.enter_context(deployed(directory, Asked(engine)))
    (place,) = found.places.values()
    return Case(name, place, beam, disk_mb(Path(place.folder)))


def student_cases(student: Training, work: Path, stack: ExitStack) -> list[Case]:
    """A student in float32, int8, with a shortlist of the text it learned from, and the last of them on AVX2.

    The name of each is the student's and what was done to it: "sru int8".
    """
    folder, model = work / student.name, student.directory
    found = {"float32": exported(model, folder / "float32", precision="float32")}
    found["int8"] = exported(model, folder / "int8")
    if student.data is not None:
        found["int8 shortlist"] = exported(model, folder / "int8-shortlist", shortlist=student.data)
    cases = [case_of(directory, f"{student.name} {what}", stack) for what, directory in found.items()]
    return [*cases, *on_avx2(cases[-1])]


def on_avx2(case: Case) -> list[Case]:
    """The same without AVX-512, where this machine has both."""
    if not {"avx2", "avx512vnni"} <= {*library.runnable()}:
        return []
    return [case._replace(name=f"{case.name} avx2", place=case.place._replace(instructions="avx2"))]


def made_cases(work: Path, stack: ExitStack, *, layers: int, dim: int) -> list[Case]:
    """A Transformer with random weights, whose outputs are as long as its sources, in CTranslate2 and compiled."""
    directory = work / f"transformer-{layers}-{dim}"
    if not (directory / "config.json").exists():
        tell(f"making {directory}")
        save_model(make_model(layers=layers, dim=dim), make_tokenizers(), directory)
    out = exported(directory, work / f"{directory.name}-int8")
    compiled = case_of(out, "compiled", stack)
    return [case_of(directory, "ctranslate2", stack, engine="ctranslate2"), compiled, *on_avx2(compiled)]


def made_text(work: Path, count: int) -> list[str]:
    """Sentences of made-up words for the Transformers of `made_cases`."""
    tokenizers = load_model(next(iter(sorted(work.glob("transformer-*[0-9]"))))).tokenizers
    return tokenizers.source.decode_batch(make_sources(count, seed=11))


def of_family(trainings: Mapping[str, Training], families: Sequence[str], *, width: int = 0) -> list[Training]:
    """The trainings of these families, and of this width if it counts."""
    return [each for each in trainings.values() if each.family in families and width in (0, each.width)]
