"""The compiled engine among the others: an exported directory, or a trained model that is exported into the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from seqdistill.decoding.corpus import RULES, EngineTraits, decode_texts
from seqdistill.decoding.processors import NOTHING, Given
from seqdistill.errors import UserError, nearest
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.family import FAMILIES, refuse_foreign
from seqdistill.models.saved import LoadedModel
from seqdistill.native.directory import FORMAT, open_exported
from seqdistill.native.search import Search
from seqdistill.native.student import Student
from seqdistill.options import DecodingOptions
from seqdistill.options.decoding import NO_COMPILED_SAMPLES
from seqdistill.runtime.conversions import kept
from seqdistill.runtime.exporting.packing import Precision
from seqdistill.runtime.exporting.writing import ENGINE, write_exported
from seqdistill.text.languages import Languages
from seqdistill.text.sources import default_cache
from seqdistill.vocabulary.vocabularies import Vocabularies


class CompiledEngine:
    """A model in the compiled engine. In float32 its words are those of the torch engine, but for ties."""

    def __init__(self, student: Student) -> None:
        self.student = student
        self._family = FAMILIES[student.exported.description["family"]]

    @property
    def traits(self) -> EngineTraits:
        traits = self._family.traits
        if traits.non_autoregressive:
            return EngineTraits(non_autoregressive=True, inserts=traits.inserts, n_best=True)
        return EngineTraits(n_best=True, scores=True, rules=RULES)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.student.exported.fingerprint

    @property
    def tokenizers(self) -> Vocabularies:
        return self.student.tokenizers

    @property
    def languages(self) -> Languages:
        """Of the text that the model was trained on."""
        return Languages.read(self.student.exported.description["languages"])

    decode = decode_texts

    def decode_ids(
        self, sources: Sequence[Sequence[int]], options: DecodingOptions, given: Given = NOTHING
    ) -> list[list[Hypothesis]]:
        """As `DecodesIds.decode_ids`; line numbers are those of messages only, as nothing is sampled.

        Raises:
            UserError: sampling, options of other families, or a source of more tokens than `student.MOST_TOKENS`.
        """
        if options.sampling:
            raise UserError(NO_COMPILED_SAMPLES)
        refuse_foreign(self._family.traits, vars(options))
        search = Search(*(getattr(options, name) for name in Search._fields))
        return self.student.decode_ids(
            sources, search, prefixes=given.prefixes, allowed=given.allowed, line_numbers=given.seeds
        )

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """As `ScoringEngine.scores`; raises UserError for a model that is not autoregressive."""
        encode = self.tokenizers.source.encode_batch, self.tokenizers.target.encode_batch
        return self.student.score_ids(encode[0](sources), encode[1](targets))


def compiled_engine(
    loaded: LoadedModel, *, cache: Path | None = None, compute_type: str = "auto", workers: int = 0
) -> CompiledEngine:
    """Exports a trained model, unless the cache has it, and runs it.

    Args:
        cache: `default_cache()` when None.
        compute_type: a Precision, or "auto": int8, whose outputs hardly differ.
        workers: threads; 0: one for each core.

    Raises:
        UserError: the engine does not run the model's family, has no such precision, or is not built here.
    """
    with kept_export(loaded, cache=cache, compute_type=compute_type) as directory:
        return CompiledEngine(Student(directory, threads=workers))


@contextmanager
def kept_export(loaded: LoadedModel, *, cache: Path | None = None, compute_type: str = "auto") -> Iterator[Path]:
    """The directory of a trained model's export in the cache, as `conversions.kept`; arguments as `compiled_engine`.

    Raises:
        UserError: the engine does not run the model's family, or has no such precision.
    """
    precision = "int8" if compute_type == "auto" else compute_type
    if precision not in (valid := get_args(Precision)):
        raise UserError(
            f"compute type {compute_type!r} is none of the compiled engine's; {nearest(compute_type, valid)}"
        )
    folder = (cache or default_cache()) / ENGINE / f"{loaded.fingerprint[:32]}-{precision}-{FORMAT}"

    def make(directory: Path) -> None:
        write_exported(loaded, directory, precision=cast(Precision, precision))

    with kept(folder, make, _is_whole) as directory:
        yield directory


def exported_engine(directory: Path, *, compute_type: str = "auto", workers: int = 0) -> CompiledEngine:
    """Runs an exported directory.

    Raises:
        UserError: it is damaged, or has another precision than asked for; the engine is not built here.
    """
    student = Student(directory, threads=workers)
    precision = student.exported.description["precision"]
    if compute_type not in ("auto", precision):
        raise UserError(
            f"{directory}: was exported in {precision}, not in {compute_type}: export the model again, or leave the "
            "compute type out"
        )
    return CompiledEngine(student)


def _is_whole(directory: Path) -> bool:
    try:
        open_exported(directory)
    except UserError:
        return False
    return True
