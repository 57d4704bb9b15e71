"""All measures of one corpus, each with its definition, signature and interval; distilled beside real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqdistill.errors import UserError
from seqdistill.measures.alignment import Alignment
from seqdistill.measures.bitext import Bitext, Side, Skipped
from seqdistill.measures.complexity import (
    SMOOTHING,
    complexity,
    entropy_gradient,
    faithfulness,
    influences,
    sentence_values,
)
from seqdistill.measures.intervals import MAX_UNITS, NUM_SAMPLES, SEED, Interval, check_resampling, resampled_interval
from seqdistill.measures.lexicon import LexicalTable
from seqdistill.measures.reordering import reordering_scores
from seqdistill.measures.wording import Ratio, mean, ratio, repetitions, type_token_ratio
from seqdistill.metrics.scores import MetricOptions, create_metric
from seqdistill.progress import Progress

REORDERING_LINKS = "intersection"
"""One-to-one links: what is chunked is then a true reordering."""

DEFINITIONS = {
    "complexity": "mean over source words of the entropy of p(target | source) of the aligner's model, nats",
    "complexity_counted": "the same of p(target | source) counted on the forward links, nats",
    "faithfulness": "mean over real source words of KL(real || distilled) of the models' p(target | source), nats; "
    "lower is more faithful",
    "faithfulness_counted": "the same of p(target | source) counted on the forward links, nats",
    "reordering": "fuzzy reordering score, mean over sentences; 1 is monotone",
    "bleu": "BLEU of the distilled targets against the real ones, 0 to 100",
    "type_token_ratio": "different target words over target words",
    "source_length": "mean number of source words",
    "target_length": "mean number of target words",
    "length_ratio": "target words over source words",
    "repetitions": "share of target words equal to the word before them",
}


class Measure(NamedTuple):
    """One number.

    Args:
        value: for the corpus.
        interval: 95 %, by resampling sentences.
        sentences: for each pair of the bitext; complexity and faithfulness as sums over its source words; NaN where a
            sentence has none. None: kept by corpus only.
    """

    name: str
    value: float
    interval: Interval
    definition: str
    signature: str
    sentences: Float[np.ndarray, " pairs"] | None


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

    def row(self) -> dict[str, str | int | float]:
        """A flat row for a table or `results/*.json`: values, interval ends, signatures."""
        row: dict[str, str | int | float] = {"corpus": self.corpus, "pairs": len(self.lines), "lines": self.num_lines}
        row |= {f"skipped_{reason}": count for reason, count in self.skipped._asdict().items()}
        for name, measure in self.measures.items():
            row |= {name: measure.value, f"{name}_low": measure.interval.low, f"{name}_high": measure.interval.high}
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

    def keep(name: str, figures: Ratio, signature: str, *, sentences: bool = True) -> None:
        interval = resampled_interval(figures.value, figures.influences, num_samples=num_samples, seed=seed)
        signature = f"{signature}|ci:95|bs:{num_samples}|seed:{seed}"
        own = figures.sentences if sentences else None
        found[name] = Measure(name, figures.value, interval, DEFINITIONS[name], signature, own)

    counted = alignment.counted_table()
    for name, table in (("complexity", alignment.table), ("complexity_counted", counted)):
        keep(name, _complexity(alignment, table), table.signature)
    num_unseen = None
    if real is not None:
        check_comparable(alignment, real)
        tables = (real.table, alignment.table), (real.counted_table(), counted)
        unseen = []
        for name, pair in zip(("faithfulness", "faithfulness_counted"), tables, strict=True):
            figures, missing = _faithfulness(alignment, real, *pair, smoothing)
            unseen.append(missing)
            keep(name, figures, f"{pair[1].signature}|smoothing:{smoothing}-background")
        num_unseen = (unseen[0], unseen[1])
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


def training_bleu(distilled: Bitext, real: Bitext, *, num_samples: int = NUM_SAMPLES, seed: int = SEED) -> Measure:
    """BLEU over the words of the bitexts, of the lines that both hold."""
    _, ours, theirs = np.intersect1d(distilled.lines, real.lines, assume_unique=True, return_indices=True)
    check_resampling(len(ours), num_samples)
    metric = create_metric("bleu", MetricOptions(tokenize="none"))
    statistics = metric.statistics(_texts(distilled.target, ours), _texts(real.target, theirs))
    value = float(metric.aggregate(statistics.sum(axis=0, keepdims=True))[0])
    units = _grouped(statistics)
    generator = np.random.default_rng(seed)
    sums = [units[generator.integers(len(units), size=len(units))].sum(axis=0) for _ in range(num_samples)]
    low, high = np.quantile(metric.aggregate(np.stack(sums)), [0.025, 0.975])
    target = distilled.signature.partition("|target:")[2]
    signature = f"{metric.signature}|words:{target}|ci:95|bs:{num_samples}|seed:{seed}"
    return Measure("bleu", value, Interval(float(low), float(high)), DEFINITIONS["bleu"], signature, None)


def check_comparable(distilled: Alignment, real: Alignment) -> None:
    """Raises UserError unless both corpora have the same lines, sources, tokenisers and aligner settings."""
    ours, theirs = distilled.bitext, real.bitext
    if ours.num_lines != theirs.num_lines:
        raise UserError(
            f"{ours.name} has {ours.num_lines:,} lines but the real corpus {theirs.name} has {theirs.num_lines:,}; "
            "expected a distilled target for each real line: give the corpus it was distilled from"
        )
    for what, one, other in (
        ("tokenised", ours.signature, theirs.signature),
        ("aligned", distilled.options.signature, real.options.signature),
    ):
        if one != other:
            raise UserError(
                f"{ours.name} was {what} with {one}, but the real corpus {theirs.name} with {other}; measures compare "
                f"only corpora {what} alike"
            )
    _check_sources(ours, theirs)


def _check_sources(ours: Bitext, theirs: Bitext) -> None:
    _, at, there = np.intersect1d(ours.lines, theirs.lines, assume_unique=True, return_indices=True)
    if not len(at):
        raise UserError(f"{ours.name} and the real corpus {theirs.name} share no line with words on both sides")
    one, other = ours.source.chosen(at), theirs.source.chosen(there)
    if one.words == other.words and np.array_equal(one.starts, other.starts) and np.array_equal(one.ids, other.ids):
        return
    pair = next(pair for pair in range(len(at)) if one.sentence(pair) != other.sentence(pair))
    raise UserError(
        f"line {ours.lines[at[pair]]:,}: the source of {ours.name} is {_short(one.sentence(pair))}, that of the real "
        f"corpus {theirs.name} is {_short(other.sentence(pair))}; expected the same sources line by line: give the "
        "corpus it was distilled from"
    )


def _complexity(alignment: Alignment, table: LexicalTable) -> Ratio:
    bitext, links = alignment.bitext, alignment.forward
    moved = influences(table, entropy_gradient(table), bitext, links, int(table.has_row().sum()))
    return Ratio(complexity(table), sentence_values(bitext.source, table.entropies()), moved)


def _faithfulness(
    alignment: Alignment, real: Alignment, real_table: LexicalTable, table: LexicalTable, smoothing: float
) -> tuple[Ratio, int]:
    """F with its influences by line, as a line's real and distilled target are drawn together."""
    found = faithfulness(real_table, table, smoothing=smoothing)
    num_words = int(real_table.has_row().sum())
    moved = np.zeros(real.bitext.num_lines)
    for part, of_table, gradient in (
        (real, real_table, found.real_gradient),
        (alignment, table, found.distilled_gradient),
    ):
        moved[part.bitext.lines - 1] += influences(of_table, gradient, part.bitext, part.forward, num_words)
    held = np.union1d(real.bitext.lines, alignment.bitext.lines) - 1
    number = {word: at for at, word in enumerate(real_table.source_words)}
    source = alignment.bitext.source
    by_word = np.array([found.divergences[number[word]] if word in number else 0.0 for word in source.words])
    return Ratio(found.value, sentence_values(source, by_word), moved[held]), found.num_unseen


def _grouped(statistics: Float[np.ndarray, "pairs statistics"]) -> Float[np.ndarray, "units statistics"]:
    """Sentences to draw from; very many are drawn in parts, as in `intervals`."""
    if len(statistics) <= MAX_UNITS:
        return statistics
    edges = np.linspace(0, len(statistics), MAX_UNITS + 1).astype(np.int64)[:-1]
    return np.add.reduceat(statistics, edges, axis=0)


def _texts(side: Side, pairs: Int[np.ndarray, " chosen"]) -> Sequence[str]:
    return [" ".join(side.sentence(pair)) for pair in pairs.tolist()]


def _short(words: Sequence[str]) -> str:
    text = " ".join(words)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
