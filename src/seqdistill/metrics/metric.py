"""What every metric offers: a corpus score with its signature, sentence scores, and statistics to resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable
from unicodedata import is_normalized, normalize

import numpy as np
from jaxtyping import Float

from seqdistill.errors import UserError
from seqdistill.text.letters import is_visible


class Score(NamedTuple):
    """One number, never without its signature (what was computed, with which settings and version)."""

    metric: str
    value: float
    signature: str

    def __str__(self) -> str:
        digits = 2 if abs(self.value) > 1 or "scale:100" in self.signature else 4
        return f"{self.metric} = {self.value:.{digits}f}  {self.signature}"


SEPARATOR = "\t"
"""Between several references of a line, as sacreBLEU's `--num-refs` has them."""


def joined_references(references: Sequence[str]) -> str:
    """Several references as one line; blank ones are left out, if another is there."""
    plain = [" ".join(reference.split(SEPARATOR)) for reference in references]
    return SEPARATOR.join([reference for reference in plain if is_visible(reference)] or plain[:1])


def reference_line(references: Sequence[str], *, num_references: int) -> str:
    """What a metric made for so many references reads; one by itself keeps its tabs."""
    return joined_references(references) if num_references > 1 else references[0]


@runtime_checkable
class Metric(Protocol):
    """A metric of hypotheses against one reference each, line by line.

    A metric made for several references reads them from one line, with SEPARATOR between them.

    `statistics` gives one row per sentence, and `aggregate` turns a sum of such rows into the corpus value: that is all
    a bootstrap needs (Koehn 2004).
    """

    @property
    def name(self) -> str:
        """Its key in METRICS."""
        ...

    @property
    def signature(self) -> str:
        """Options and version, as `key:value|key:value`."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """False for error rates."""
        ...

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
        """The value for the whole corpus; UserError when the counts differ or there is no line."""
        ...

    def sentences(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """One value per line; UserError when the counts differ or there is no line."""
        ...

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "sentences statistics"]:
        """One row of sufficient statistics per line."""
        ...

    def aggregate(self, sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
        """Corpus values of samples, each given as the sum of its lines' rows."""
        ...


NFC = "|unicode:nfc"
"""In a signature: some lines were not in NFC, and all were brought to it, so that equal characters are equal."""


def composed(lines: Sequence[str]) -> list[str]:
    """Lines in NFC: "ä" is one character, however it was typed."""
    return [normalize("NFC", line) for line in lines]


def signature_of(metric: Metric, *texts: Sequence[str]) -> str:
    """The metric's signature for these texts; says where they had to be composed."""
    changed = not all(is_normalized("NFC", line) for text in texts for line in text)
    return metric.signature + NFC * changed


@dataclass(frozen=True)
class Composed:
    """A metric that composes all text first; text in NFC, as almost all is, has the metric's own values."""

    metric: Metric

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def signature(self) -> str:
        return self.metric.signature

    @property
    def higher_is_better(self) -> bool:
        return self.metric.higher_is_better

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
        score = self.metric.corpus(composed(hypotheses), composed(references))
        return score._replace(signature=signature_of(self.metric, hypotheses, references))

    def sentences(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return self.metric.sentences(composed(hypotheses), composed(references))

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "sentences statistics"]:
        return self.metric.statistics(composed(hypotheses), composed(references))

    def aggregate(self, sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
        return self.metric.aggregate(sums)


def check_parallel(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raises UserError, naming both counts, unless there are as many hypotheses as references, and at least one."""
    if len(hypotheses) != len(references):
        raise UserError(
            f"{len(hypotheses):,} hypotheses but {len(references):,} references: a metric needs one reference line for "
            "each hypothesis line; check that both files belong to the same test set and that no line was lost"
        )
    if not hypotheses:
        raise UserError("0 hypotheses and 0 references: there is nothing to score; give files with at least one line")


@dataclass(frozen=True)
class SentenceMean:
    """A metric whose corpus value is the mean of its sentence values.

    Args:
        score_sentences: one value per pair of hypothesis and reference.
    """

    name: str
    signature: str
    score_sentences: Callable[[Sequence[str], Sequence[str]], list[float]]
    higher_is_better: bool = True

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
        values = self.sentences(hypotheses, references)
        return Score(self.name, sum(values) / len(values), self.signature)

    def sentences(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        check_parallel(hypotheses, references)
        values = self.score_sentences(hypotheses, references)
        assert len(values) == len(hypotheses), (self.name, len(values), len(hypotheses))
        return values

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "sentences statistics"]:
        return mean_statistics(self.sentences(hypotheses, references))

    def aggregate(self, sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
        return mean_of_sums(sums)


def mean_statistics(values: Sequence[float]) -> Float[np.ndarray, "sentences statistics"]:
    """Rows (value, 1), whose sum gives a mean."""
    return np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)


def mean_of_sums(sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
    """Means from sums of rows (value, 1)."""
    return sums[:, 0] / sums[:, 1]
