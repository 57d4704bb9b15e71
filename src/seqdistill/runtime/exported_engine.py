"""The compiled engine among the others, with an exported directory. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqdistill.decoding.engine import RULES, EngineTraits, decode_texts
from seqdistill.decoding.given import NOTHING, Given
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.family import FAMILIES, refuse_foreign
from seqdistill.native.search import Search
from seqdistill.native.student import Student
from seqdistill.options import DecodingOptions
from seqdistill.options.decoding import NO_COMPILED_SAMPLES
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies


class CompiledEngine:
    """A model in the compiled engine. In float32 its words are those of the torch engine, but for ties."""

    def __init__(self, student: Student) -> None:
        self.student = student
        self.scored = True
        """Whether somebody reads log-probabilities and scores: otherwise those that no search needs are 0, and decoding
        is faster."""
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

    @property
    def parameters(self) -> int:
        """Of the trained model."""
        return self.student.exported.description["parameters"]

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
            sources,
            search,
            prefixes=given.prefixes,
            allowed=given.allowed,
            line_numbers=given.seeds,
            scores=self.scored,
        )

    def scores(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """As `ScoringEngine.scores`; raises UserError for a model that is not autoregressive."""
        encode = self.tokenizers.source.encode_batch, self.tokenizers.target.encode_batch
        return self.student.score_ids(encode[0](sources), encode[1](targets))


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
