"""Heading and number format of each column of a table, the same in README, docs and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

Cell = str | bool | int | float | None
Row = Mapping[str, Cell]

ABSENT = "–"
_ENDS = ("_low", "_high")


class Column(NamedTuple):
    """One column.

    Args:
        digits: after the point; -1 chooses by the size of the numbers.
        best: which value of a column is worth emphasis.
        scale: what a number is divided by before it is written, and the unit written behind it.
    """

    title: str
    digits: int = -1
    best: Literal["high", "low", "none"] = "none"
    scale: tuple[float, str] = (1.0, "")


COLUMNS: dict[str, Column] = {
    "system": Column("System"),
    "model": Column("Model"),
    "student": Column("Student"),
    "data": Column("Trained on"),
    "objective": Column("Objective"),
    "variant": Column("Variant"),
    "difference": Column("Difference"),
    "metric": Column("Metric"),
    "seed": Column("Seed", 0),
    "bleu": Column("BLEU", 2, "high"),
    "bleu1": Column("BLEU, beam 1", 2, "high"),
    "bleu5": Column("BLEU, beam 5", 2, "high"),
    "distilled_bleu": Column("BLEU, distilled", 2, "high"),
    "bleu_of_teacher": Column("BLEU of its teacher", 2),
    "published_bleu": Column("published", 2),
    "bleu_real": Column("real", 2),
    "bleu_tiny": Column("tiny", 2),
    "bleu_small": Column("small", 2),
    "bleu_base": Column("base", 2),
    "bleu_big": Column("big", 2),
    "valid_bleu": Column("Validation BLEU", 2, "high"),
    "deviation1": Column("± seeds", 2),
    "deviation5": Column("± seeds", 2),
    "published_bleu1": Column("published, beam 1", 1),
    "published_bleu5": Column("published, beam 5", 1),
    "with_seqinter": Column("with SeqInter", 2),
    "published_valid_bleu": Column("published", 1),
    "published_with_seqinter": Column("published with SeqInter", 1),
    "chrf": Column("chrF", 2, "high"),
    "chrf++": Column("chrF++", 2, "high"),
    "ter": Column("TER", 2, "low"),
    "rouge1": Column("ROUGE-1", 2, "high"),
    "rouge2": Column("ROUGE-2", 2, "high"),
    "rougeL": Column("ROUGE-L", 2, "high"),
    "published_rouge1": Column("published", 1),
    "published_rouge2": Column("published", 1),
    "published_rougeL": Column("published", 1),
    "rouge": Column("ROUGE"),
    "ribes": Column("RIBES", 4, "high"),
    "meteor": Column("METEOR", 4, "high"),
    "beer": Column("BEER", 4, "high"),
    "comet": Column("COMET", 4, "high"),
    "perplexity": Column("Perplexity", 2, "low"),
    "loss": Column("Loss", 3, "low"),
    "passes": Column("Passes", 2, "low"),
    "iterations": Column("Iterations", 2, "low"),
    "parameters": Column("Parameters", 1, "none", (1e6, " M")),
    "params": Column("Parameters", 1, "none", (1e6, " M")),
    "milliseconds_per_sentence": Column("ms a sentence", 1, "low"),
    "milliseconds_beam1": Column("ms a sentence, beam 1", 1, "low"),
    "milliseconds_beam5": Column("ms a sentence, beam 5", 1, "low"),
    "published_milliseconds_beam1": Column("published, beam 1", 0),
    "published_milliseconds_beam5": Column("published, beam 5", 0),
    "relative_time": Column("Time, vanilla NAT = 1", 2, "low"),
    "times_faster_than_beam5": Column("times faster than the teacher, beam 5", 1, "high"),
    "times_faster_than_beam1": Column("than the teacher, beam 1", 1, "high"),
    "milliseconds_in_batches": Column("ms a sentence, in batches", 2, "low"),
    "relative_time_in_batches": Column("Time in batches, vanilla NAT = 1", 2, "low"),
    "times_faster_in_batches_than_beam5": Column("times faster in batches, beam 5", 1, "high"),
    "times_faster_in_batches_than_beam1": Column("in batches, beam 1", 1, "high"),
    "latency_ms": Column("ms a sentence", 3, "low"),
    "latency_p95_ms": Column("ms, 95th percentile", 3, "low"),
    "times_faster": Column("Times faster", 2, "high"),
    "engine": Column("Engine"),
    "precision": Column("Precision"),
    "vectors": Column("Instructions"),
    "load_ms": Column("Load, ms", 0, "low"),
    "memory_mb": Column("Memory, MB", 0, "low"),
    "disk_mb": Column("Disk, MB", 1, "low"),
    "sentences_per_second": Column("Sentences/s", 0, "high"),
    "tokens_per_second": Column("Tokens/s", 0, "high"),
    "wall_seconds": Column("Seconds", 0),
    "corpus": Column("Corpus"),
    "complexity": Column("Complexity, nats", 3, "low"),
    "complexity_by_token": Column("C by token", 3, "low"),
    "complexity_counted": Column("Counted on links", 3, "low"),
    "published_complexity": Column("C published", 2),
    "faithfulness": Column("Faithfulness, nats", 2, "low"),
    "faithfulness_by_token": Column("F by token", 3, "low"),
    "published_faithfulness": Column("F published", 2),
    "reordering": Column("Reordering", 3),
    "teacher_bleu": Column("Teacher's BLEU", 1),
    "single_language_percent": Column("In one language, %", 1),
    "single_language_low": Column("95 % from", 1),
    "single_language_high": Column("to", 1),
    "without_words": Column("Without words", 0),
    "unknown_words_percent": Column("Unknown words, %", 1),
    "mean_highest_posterior": Column("Highest posterior, mean", 3),
    "gain": Column("Gain", 2),
    "low": Column("95 % from", 2),
    "high": Column("to", 2),
    "p_value": Column("p", 4),
}


def column(name: str) -> Column:
    """A column's heading and numbers; one not in COLUMNS is headed by its name."""
    return COLUMNS.get(name) or Column(name.replace("_", " "))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Names of all columns in order of appearance, signatures apart (`signatures_of`)."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if not is_signature(name)]


def folded(names: Sequence[str]) -> list[str]:
    """Columns of a table in which NAME_low and NAME_high stand as an interval in NAME's cells; see `intervals`."""
    return [name for name in names if not (name.endswith(_ENDS) and name.rpartition("_")[0] in names)]


def intervals(name: str, rows: Sequence[Row], values: Sequence[Cell]) -> list[str]:
    """For each row ` [low, high]` with the digits of the column, or nothing where it has not both ends."""
    found = []
    for row in rows:
        ends = [row.get(name + end) for end in _ENDS]
        low, high = written(name, [*ends, *values])[:2]
        found.append("" if None in ends else f" [{low}, {high}]")
    return found


def with_intervals(name: str, rows: Sequence[Row]) -> list[str]:
    """The cells of a column as text, each with its interval, if its row has one."""
    values = [row.get(name) for row in rows]
    pairs = zip(written(name, values), intervals(name, rows, values), strict=True)
    return [cell + interval for cell, interval in pairs]


def is_signature(name: str) -> bool:
    """Signatures are too long for a cell: `signature`, `bleu_signature` and the like are written below the table."""
    return name == "signature" or name.endswith("_signature")


def signatures_of(rows: Sequence[Row]) -> list[str]:
    """Each different signature, once, with its metric's heading in front."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if is_signature(name) and value:
                metric = name.removesuffix("signature").rstrip("_")
                found[f"{column(metric).title}: {value}" if metric else str(value)] = None
    return list(found)


def written(name: str, values: Sequence[Cell]) -> list[str]:
    """The cells of a column as text, all numbers with the same number of digits."""
    spec = column(name)
    numbers = list(_numbers(values).values())
    digits = spec.digits if spec.digits >= 0 else _digits(numbers)
    threshold = 1000 if name.endswith("_per_second") else 10_000
    grouped = any(abs(number / spec.scale[0]) >= threshold for number in numbers)
    return [_written(value, f"{',' if grouped else ''}.{digits}f", spec.scale) for value in values]


def is_numeric(values: Sequence[Cell]) -> bool:
    """Whether a column holds numbers only, absent ones aside, and so is aligned to the right."""
    present = [value for value in values if value is not None]
    return bool(present) and len(_numbers(present)) == len(present)


def best_rows(name: str, values: Sequence[Cell]) -> set[int]:
    """Rows that hold the best value as it is written; none where no value is better, or all are equal."""
    spec = column(name)
    texts = written(name, values)
    numbers = _numbers(values)
    if spec.best == "none" or len(numbers) < 2:
        return set()
    choose = max if spec.best == "high" else min
    top = texts[choose(numbers, key=lambda i: numbers[i])]
    chosen = {i for i in numbers if texts[i] == top}
    return set() if len(chosen) == len(numbers) else chosen


def _numbers(values: Sequence[Cell]) -> dict[int, float]:
    """The numbers among the cells, by row."""
    return {
        i: float(value)
        for i, value in enumerate(values)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _digits(numbers: Sequence[float]) -> int:
    if all(number == int(number) for number in numbers):
        return 0
    largest = max(abs(number) for number in numbers)
    return max(0, 3 - max(0, math.floor(math.log10(largest))))


def _written(value: Cell, number_format: str, scale: tuple[float, str]) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return format(value / scale[0], number_format) + scale[1]
