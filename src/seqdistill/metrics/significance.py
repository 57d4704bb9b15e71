"""Is one system better than another, or only luckier? Paired bootstrap resampling, and BLEU by sentence length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqdistill.errors import UserError
from seqdistill.metrics import surface
from seqdistill.metrics.metric import Composed, Metric, check_parallel, signature_of

NUM_SAMPLES, SEED = 1000, 12345  # sacreBLEU's own defaults, so that both draw the same samples
CHUNK_NUMBERS = 4_000_000


class Comparison(NamedTuple):
    """Gain of a system over a baseline.

    Args:
        delta: system minus baseline on the whole test set.
        low, high: interval that holds 95 % of the resampled differences.
        p_value: how likely a difference this large is by chance; 1 when the systems do not differ.
    """

    metric: str
    baseline: float
    system: float
    delta: float
    low: float
    high: float
    p_value: float
    signature: str

    def __str__(self) -> str:
        digits = 2 if max(abs(self.baseline), abs(self.system)) > 1 else 4
        return (
            f"{self.metric}: {self.system:.{digits}f} against {self.baseline:.{digits}f}, "
            f"{self.delta:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}], "
            f"p = {self.p_value:.4f}  {self.signature}"
        )


def compare(
    metric: Metric,
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Paired bootstrap resampling (Koehn 2004): both systems are scored on the same `num_samples` resampled test sets.

    Each sample sums the sentences' sufficient statistics, so BLEU, chrF, TER and METEOR are true corpus scores of it.
    The p-value is that of Moses and sacreBLEU (`--paired-bs`): the share of samples whose absolute difference exceeds
    its mean by the observed difference, counted with one more sample that does; here a tie counts as exceeding.

    Raises:
        UserError: the line counts differ, or there are less than 40 samples, too few for a 95 % interval.
    """
    return compare_runs(metric, [baseline], [system], references, num_samples=num_samples, seed=seed)


def compare_runs(
    metric: Metric,
    baselines: Sequence[Sequence[str]],
    systems: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> Comparison:
    """`compare` where each system was trained several times, as with other seeds: a sentence's outputs stay together.

    A sample takes a sentence with the outputs of all runs, whose statistics are added: a corpus of all runs' outputs,
    whose interval says how the difference depends on the test sentences, not on the seeds.

    Raises:
        UserError: as `compare`.
    """
    _check_samples(num_samples)
    for outputs in (*baselines, *systems):
        check_parallel(outputs, references)
    # Paired: both systems' sums are drawn from the same seed, so sample k of both holds the same sentences. Means of
    # sentences are not taken anywhere: statistics are summed, and the metric is computed of the sums.
    rows = [np.sum([metric.statistics(run, references) for run in runs], axis=0) for runs in (baselines, systems)]
    whole = [float(metric.aggregate(statistics.sum(axis=0, keepdims=True))[0]) for statistics in rows]
    delta = whole[1] - whole[0]
    sums = zip(*(_resampled_sums(statistics, num_samples, seed) for statistics in rows), strict=True)
    differences = np.concatenate([metric.aggregate(second) - metric.aggregate(first) for first, second in sums])
    low, high = np.quantile(differences, [0.025, 0.975])
    # Under the hypothesis of no difference, resampled differences would spread around 0 as they do around their mean:
    # how often does the spread alone reach what was observed? (Moses takes the mean of absolute differences.)
    excess = np.abs(differences) - np.abs(differences).mean()
    p_value = (np.count_nonzero(excess >= abs(delta)) + 1) / (num_samples + 1)
    signature = f"{signature_of(metric, references, *baselines, *systems)}|bs:{num_samples}|seed:{seed}"
    return Comparison(metric.name, whole[0], whole[1], delta, float(low), float(high), float(p_value), signature)


def _resampled_sums(
    statistics: Float[np.ndarray, "sentences statistics"], num_samples: int, seed: int
) -> Iterator[np.ndarray]:
    """Sums (samples, statistics) over sentences drawn with replacement, a few samples at a time."""
    generator = np.random.default_rng(seed)
    num_sentences = len(statistics)
    chunk = max(1, CHUNK_NUMBERS // statistics.size)
    for start in range(0, num_samples, chunk):
        size = min(chunk, num_samples - start)
        yield statistics[generator.choice(num_sentences, size=(size, num_sentences))].sum(axis=1)


class Interval(NamedTuple):
    """Holds 95 % of the values of resampled test sets."""

    low: float
    high: float


def score_interval(
    metric: Metric,
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> Interval:
    """The interval of one system's corpus score, by bootstrap resampling of sentences (Koehn 2004).

    Raises:
        UserError: as `compare`.
    """
    _check_samples(num_samples)
    check_parallel(hypotheses, references)
    rows = metric.statistics(hypotheses, references)
    values = np.concatenate([metric.aggregate(sums) for sums in _resampled_sums(rows, num_samples, seed)])
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _check_samples(number: int) -> None:
    if number < 40:
        raise UserError(f"{number} bootstrap samples: a 95 % interval needs at least 40; 1,000 is usual")


class Share(NamedTuple):
    """A share of successes, in percent, with its interval for independent trials."""

    percent: float
    low: float
    high: float


def share(successes: int, trials: int) -> Share:
    """The share of successes with its 95 % Wilson interval (Wilson 1927), which stays within 0 and 100 at both ends.

    Raises:
        ValueError: no trials, or more successes than trials.

    >>> [round(number, 1) for number in share(8, 10)], [round(number, 1) for number in share(0, 10)]
    ([80.0, 49.0, 94.3], [0.0, 0.0, 27.8])
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"a share needs trials and at most as many successes, but got {successes} of {trials}")
    z = 1.959963984540054
    p, spread = successes / trials, z * z / trials
    middle = (p + spread / 2) / (1 + spread)
    half = (p * (1 - p) * spread + spread * spread / 4) ** 0.5 / (1 + spread)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Share(100 * p, 100 * low, 100 * high)


class LengthBucket(NamedTuple):
    """Sentences with low <= length < high."""

    low: int
    high: float
    num_sentences: int
    bleu: float

    @property
    def label(self) -> str:
        """`10-19`, or `60+` for the last."""
        return f"{self.low}+" if self.high == float("inf") else f"{self.low}-{int(self.high) - 1}"


def bleu_by_length(
    hypotheses: Sequence[str],
    references: Sequence[str],
    lengths: Sequence[int],
    edges: Sequence[int],
    *,
    lowercase: bool = False,
    tokenize: str = "13a",
    num_references: int = 1,
) -> list[LengthBucket]:
    """Corpus BLEU of the sentences of each length; buckets without a sentence are left out.

    Args:
        lengths: of each sentence, such as the number of words in its source.
        edges: ascending; (10, 20) gives the buckets 0 to 9, 10 to 19, and 20 and more.
        num_references: as in `create_metric`.

    Raises:
        UserError: counts that differ, or edges that do not ascend from above 0.
    """
    check_parallel(hypotheses, references)
    if len(lengths) != len(hypotheses):
        raise UserError(f"{len(lengths):,} lengths but {len(hypotheses):,} hypotheses: give one length a line")
    bounds = [0, *edges, float("inf")]
    if any(low >= high for low, high in pairwise(bounds)):
        raise UserError(f"edges of length buckets must ascend from above 0, found {list(edges)}")
    metric = Composed(surface.bleu(lowercase=lowercase, tokenize=tokenize, num_references=num_references))
    rows = metric.statistics(hypotheses, references)
    buckets = []
    for low, high in pairwise(bounds):
        chosen = rows[[low <= length < high for length in lengths]]
        if len(chosen):
            value = float(metric.aggregate(chosen.sum(axis=0, keepdims=True))[0])
            buckets.append(LengthBucket(int(low), high, len(chosen), value))
    return buckets
