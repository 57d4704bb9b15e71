"""All measures of one corpus, each with its definition, signature and interval; distilled beside real data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.errors import UserError
from seqdistill.measures.alignment import Alignment
from seqdistill.measures.bitext import Bitext, Side, Skipped
from seqdistill.measures.comparable import check_comparable
from seqdistill.measures.complexity import BY_TOKEN, BY_TYPE, SMOOTHING
from seqdistill.measures.estimates import complexity_of, faithfulness_of
from seqdistill.measures.intervals import MAX_UNITS, NUM_SAMPLES, SEED, Interval, check_resampling, resampled_interval
from seqdistill.measures.reordering import reordering_scores
from seqdistill.measures.wording import Ratio, mean, ratio, repetitions, type_token_ratio
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.surface import sentence_bleu_rows
from seqdistill.options import MetricOptions
from seqdistill.progress import Progress

REORDERING_LINKS = "intersection"
"""One-to-one links, so that chunks show a true reordering."""

DEFINITIONS = {
    "complexity": "mean over source words of the entropy of p(target | source) of the aligner's model, nats",
    "complexity_by_token": "the same as a mean over the source tokens: each word as often as it occurs",
    "complexity_counted": "complexity with p(target | source) counted on the forward links, nats",
    "faithfulness": "mean over real source words of KL(real || distilled) of the models' p(target | source), nats; "
    "lower is more faithful",
    "faithfulness_by_token": "the same as a mean over the real source tokens",
    "faithfulness_counted": "faithfulness with p(target | source) counted on the forward links, nats",
    "reordering": "fuzzy reordering score, mean over sentences; 1 is monotone",
    "bleu": "BLEU of the distilled targets against the real ones, 0 to 100; of a sentence with effective order",
    "type_token_ratio": "different target words over target words",
    "source_length": "mean number of source words",
    "target_length": "mean number of target words",
    "length_ratio": "target words over source words",
    "repetitions": "share of target words equal to the word before them",
}


_KINDS = (("", BY_TYPE, False), ("_by_token", BY_TOKEN, False), ("_counted", BY_TYPE, True))
"""End of the name, weighting, and whether the table is counted on links."""


class Measure(NamedTuple):
    """One number.

    Args:
        value: for the corpus; NaN where no sentence has one (the order of single words).
        interval: 95 %, by resampling sentences.
        sentences: for each pair of the bitext; complexity and faithfulness as sums over its source words; NaN where a
            sentence has none.
        influences: how much each line of the corpus moves the value, to first order; 0 where a line is skipped. None:
            not known (BLEU).
    """

    name: str
    value: float
    interval: Interval
    definition: str
    signature: str
    sentences: Float[np.ndarray, " pairs"]
    influences: Float[np.ndarray, " lines"] | None


class Difference(NamedTuple):
    """Difference of two corpora, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Measures:
    """Everything measured of one corpus.

    Args:
        lines: the line, from 1, of each pair that was measured.
        num_lines, skipped: lines of the corpus, and how many hold no pair, by reason.
        num_unseen: real source words without a row in this corpus' tables (model's, counted); None without real data.
        measures: by name, in the order of DEFINITIONS.
    """

    corpus: str
    lines: Int[np.ndarray, " pairs"]
    num_lines: int
    skipped: Skipped
    num_unseen: tuple[int, int] | None
    measures: dict[str, Measure]

    def __getitem__(self, name: str) -> Measure:
        """Raises KeyError for a measure that was not taken (BLEU and faithfulness need real data)."""
        return self.measures[name]

    def row(self) -> dict[str, str | int | float | None]:
        """A flat row for a table or `results/*.json`: values, interval ends, signatures; None for what is undefined."""
        row: dict[str, str | int | float | None] = {
            "corpus": self.corpus,
            "pairs": len(self.lines),
            "lines": self.num_lines,
        }
        row |= {f"skipped_{reason}": count for reason, count in self.skipped._asdict().items()}
        for name, measure in self.measures.items():
            figures = {name: measure.value, f"{name}_low": measure.interval.low, f"{name}_high": measure.interval.high}
            row |= {key: None if math.isnan(value) else value for key, value in figures.items()}
            row[f"{name}_signature"] = measure.signature
        return row


def measure(
    alignment: Alignment,
    real: Alignment | None = None,
    *,
    smoothing: float = SMOOTHING,
    reordering_links: str = REORDERING_LINKS,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Measures:
    """Takes every measure of a corpus.

    Args:
        real: the real corpus that this one was distilled from, line by line; adds faithfulness and BLEU.
        smoothing: of faithfulness.
        reordering_links: the symmetrisation (or direction) whose links are chunked.

    Raises:
        UserError: other line counts or other source sentences than the real corpus, other tokenisers or settings of
            the aligner, or too few sentences or samples for an interval.
    """
    bitext = alignment.bitext
    check_resampling(len(bitext), num_samples)
    found: dict[str, Measure] = {}

    def keep(name: str, figures: Ratio, signature: str, *, lines: np.ndarray = bitext.lines) -> None:
        interval = resampled_interval(figures.value, figures.influences, num_samples=num_samples, seed=seed)
        signature = f"{signature}|ci:95|bs:{num_samples}|seed:{seed}"
        # By line of the corpus, not by pair: corpora that skipped other lines can be subtracted.
        by_line = np.zeros(bitext.num_lines)
        by_line[lines - 1] = figures.influences
        found[name] = Measure(name, figures.value, interval, DEFINITIONS[name], signature, figures.sentences, by_line)

    counted = alignment.counted_table()
    for suffix, weighting, on_links in _KINDS:
        table = counted if on_links else alignment.table
        keep(f"complexity{suffix}", complexity_of(alignment, table, weighting, counted=on_links), table.signature)
    num_unseen = None
    if real is not None:
        check_comparable(alignment, real)
        tables, tables_counted = (alignment.table, real.table), (counted, real.counted_table())
        unseen = []
        for suffix, weighting, on_links in _KINDS:
            pair = tables_counted if on_links else tables
            figures, lines, missing = faithfulness_of(
                alignment, real, pair, weighting, smoothing=smoothing, counted=on_links
            )
            unseen.append(missing)
            signature = f"{pair[0].signature}|smoothing:{smoothing}-background"
            keep(f"faithfulness{suffix}", figures, signature, lines=lines)
        num_unseen = (unseen[0], unseen[-1])
        found["bleu"] = training_bleu(bitext, real.bitext, num_samples=num_samples, seed=seed)
    links = alignment.symmetrized(reordering_links, progress=progress)
    aligned = f"{bitext.signature}|{alignment.options.signature}|links:{reordering_links}"
    keep("reordering", mean(reordering_scores(links)), aligned)
    target, lengths = bitext.target, (bitext.source.lengths() * 1.0, bitext.target.lengths() * 1.0)
    keep("type_token_ratio", type_token_ratio(target), bitext.signature)
    keep("source_length", mean(lengths[0]), bitext.signature)
    keep("target_length", mean(lengths[1]), bitext.signature)
    keep("length_ratio", ratio(lengths[1], lengths[0]), bitext.signature)
    keep("repetitions", repetitions(target), bitext.signature)
    ordered = {name: found[name] for name in DEFINITIONS if name in found}
    return Measures(bitext.name, bitext.lines, bitext.num_lines, bitext.skipped, num_unseen, ordered)


def difference(one: Measures, other: Measures, name: str) -> Difference:
    """One corpus' value minus another's, with the interval of resampling the same lines of both.

    Raises:
        UserError: corpora of different line counts.
        KeyError: a measure that was not taken, or whose influences are not known (BLEU).
    """
    if one.num_lines != other.num_lines:
        raise UserError(
            f"{one.corpus} has {one.num_lines:,} lines but {other.corpus} has {other.num_lines:,}; expected targets "
            "for the same lines: give corpora that were distilled from the same text"
        )
    ours, theirs = one[name].influences, other[name].influences
    if ours is None or theirs is None:
        raise KeyError(name)
    value = one[name].value - other[name].value
    # A drawn line moves both values, so what the two have in common cancels.
    moved = (ours - theirs)[np.union1d(one.lines, other.lines) - 1]
    return Difference(value, *resampled_interval(value, moved))


def training_bleu(distilled: Bitext, real: Bitext, *, num_samples: int = NUM_SAMPLES, seed: int = SEED) -> Measure:
    """BLEU over the words of the bitexts, of the lines that both hold; NaN for a sentence of another line.

    Of a sentence, sacreBLEU's sentence BLEU: exponential smoothing, without the orders that it is too short for.
    """
    _, ours, theirs = np.intersect1d(distilled.lines, real.lines, assume_unique=True, return_indices=True)
    check_resampling(len(ours), num_samples)
    metric = create_metric("bleu", MetricOptions(tokenize="none"))
    statistics = metric.statistics(_texts(distilled.target, ours), _texts(real.target, theirs))
    value = float(metric.aggregate(statistics.sum(axis=0, keepdims=True))[0])
    sentences = np.full(len(distilled), np.nan)
    sentences[ours] = sentence_bleu_rows(statistics)
    units = _grouped(statistics)
    generator = np.random.default_rng(seed)
    # BLEU of the summed statistics of the drawn sentences, not a mean of sentences.
    sums = [units[generator.integers(len(units), size=len(units))].sum(axis=0) for _ in range(num_samples)]
    low, high = np.quantile(metric.aggregate(np.stack(sums)), [0.025, 0.975])
    target = distilled.signature.partition("|target:")[2]
    signature = f"{metric.signature}|words:{target}|ci:95|bs:{num_samples}|seed:{seed}"
    return Measure("bleu", value, Interval(float(low), float(high)), DEFINITIONS["bleu"], signature, sentences, None)


def _grouped(statistics: Float[np.ndarray, "pairs statistics"]) -> Float[np.ndarray, "units statistics"]:
    """Sentences to draw from; very many are drawn in parts, as in `intervals`."""
    if len(statistics) <= MAX_UNITS:
        return statistics
    # MAX_UNITS runs of neighbours, about equally long; `reduceat` sums from each edge to the next.
    edges = np.linspace(0, len(statistics), MAX_UNITS + 1).astype(np.int64)[:-1]
    return np.add.reduceat(statistics, edges, axis=0)


def _texts(side: Side, pairs: Int[np.ndarray, " chosen"]) -> Sequence[str]:
    return [" ".join(side.sentence(pair)) for pair in pairs.tolist()]
