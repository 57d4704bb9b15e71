"""Decoding time of non-autoregressive students beside vanilla NAT and the autoregressive teacher, in one run.

    python -m papers.zhou2020.speed [--run runs/nat-multi30k-en-de] [--teachers runs/measures-multi30k-en-de]

Writes nat-multi30k-en-de-speed. Each student as it was trained on the base teacher's text,
decoded as its BLEU was: five lengths, or with its penalty; the teacher with beam 5 and 1, on our own engine and on
CTranslate2 (int8), what a user would deploy. Systems take turns on one thread: sentences one by one, then the whole
test set in batches. A time is the median over rounds of the mean of a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evidence.rounds import medians, rounds
from evidence.script import arguments, execute, record, tell
from papers.decoders import Decoder, open_decoder, sources_of_test_set
from seqdistill.decoding.penalty import mean_effort
from seqdistill.hypothesis import TextHypothesis

STUDENTS = {
    "vanilla": "vanilla-base",
    "flowseq": "flowseq-base",
    "inat": "inat-base",
    "inst": "inst-base",
    "cmlm": "cmlm-base",
    "levt": "levt-base",
    "levtbig": "levtbig-base",
}
"""Stages by student."""
INSERTING = ("inst", "levt", "levtbig")
"""Students with a penalty of their own, in penalty-STAGE."""


def main() -> None:
    given = arguments(
        __doc__,
        run=Path("runs/nat-multi30k-en-de"),
        teachers=Path("runs/measures-multi30k-en-de"),
        sentences=100,
        rounds=5,
    ).parse_args()
    sources = sources_of_test_set(given.teachers / "real")
    few = sources[: given.sentences]
    decoders = opened(given.run, given.teachers)
    single = {name: decoder.one_by_one(few) for name, decoder in decoders.items()}
    batched = {name: partial(decoder.together, sources) for name, decoder in decoders.items()}
    one = medians(rounds(single, given.rounds, tell=tell), lambda turn: 1000 * turn.seconds / len(few))
    whole = medians(rounds(batched, given.rounds, tell=tell), lambda turn: 1000 * turn.seconds / len(sources))
    rows = [row_of(name, one, whole, decoder.together(sources)) for name, decoder in decoders.items()]
    figures = {f"{row['student']}_relative_time": float(row["relative_time"]) for row in rows}
    claim = "Decoding time on one core of a CPU, relative to vanilla NAT: one sentence at a time, and in batches"
    record("nat-multi30k-en-de-speed", given, claim=claim, figures=figures, rows=rows)


def opened(folder: Path, teachers: Path) -> dict[str, Decoder]:
    """Every student that was trained, and the teacher four times."""
    found = {}
    for name, stage in STUDENTS.items():
        if (folder / stage / "model").is_dir():
            how = {"penalty_file": folder / f"penalty-{stage}"} if name in INSERTING else {"beam": 5}
            found[name] = open_decoder(model=folder / stage, **how)
    for engine in ("torch", "ctranslate2"):
        for beam in (5, 1):
            found[f"at_{engine}_beam{beam}"] = open_decoder(model=teachers / "at-base", engine=engine, beam=beam)
    return found


def row_of(
    name: str, one: Mapping[str, float], batched: Mapping[str, float], best: list[TextHypothesis]
) -> dict[str, Any]:
    """Milliseconds and ratios to vanilla NAT; how much faster than the teacher on our engine with beam 5 and 1.

    Args:
        one, batched: milliseconds a sentence, by system.
    """
    passes, iterations = mean_effort([(hypothesis.passes, hypothesis.iterations) for hypothesis in best])
    row: dict[str, Any] = {"student": name}
    for times, milliseconds, relative, faster in (
        (one, "milliseconds_per_sentence", "relative_time", "times_faster_than_beam"),
        (batched, "milliseconds_in_batches", "relative_time_in_batches", "times_faster_in_batches_than_beam"),
    ):
        row[milliseconds] = round(times[name], 3)
        row[relative] = round(times[name] / times["vanilla"], 3)
        row |= {f"{faster}{beam}": round(times[f"at_torch_beam{beam}"] / times[name], 3) for beam in (5, 1)}
    return row | {"passes": round(passes, 3) or None, "iterations": round(iterations, 3) or None}


if __name__ == "__main__":
    execute(main)
