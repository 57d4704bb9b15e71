"""How fast are non-autoregressive students? Decoding time beside vanilla NAT and their teacher, in one run.

    python -m papers.zhou2020.speed --run runs/nat-multi30k-en-de --teachers runs/measures-multi30k-en-de

Writes nat-multi30k-en-de-speed. Each student as it was trained on the base teacher's text,
decoded as its BLEU was: five lengths, or with its penalty; the teacher with beam 5 and 1, on our own engine and on
CTranslate2 (int8), what a user would deploy. Systems take turns on one thread: sentences one by one, then the whole
test set in batches. A time is the median over rounds of the mean of a sentence.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from evidence.results import write_result
from seqdistill.data.directory import DataDirectory
from seqdistill.decoding.corpus import Engine
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.decoding.penalty import mean_effort
from seqdistill.errors import reported
from seqdistill.options import TranslateOptions
from seqdistill.verbs.engine import decoding_options, open_engine

STUDENTS = {
    "vanilla": "vanilla-base",
    "flowseq": "flowseq-base",
    "inat": "inat-base",
    "inst": "inst-base",
    "cmlm": "cmlm-base",
    "levt": "levt-base",
    "levtbig": "levtbig-base",
}
INSERTING = ("inst", "levt", "levtbig")
"""Students with a penalty of their own, in penalty-STAGE."""


class Timed(NamedTuple):
    """A system ready to decode."""

    name: str
    engine: Engine
    options: DecodingOptions
    one: list[float]
    """Milliseconds a sentence, each by itself, of every round."""
    batched: list[float]
    """The same in batches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/nat-multi30k-en-de"))
    parser.add_argument("--teachers", type=Path, default=Path("runs/measures-multi30k-en-de"))
    parser.add_argument("--sentences", type=int, default=100, help="decoded one by one; the test set is taken whole")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)
    test = DataDirectory.open(given.teachers / "real").test
    assert test is not None, "the recipe prepares test text"
    sources = list(test.sources())
    systems = list(opened(given.run, given.teachers))
    for number in range(given.rounds + 1):  # the first round warms up
        for system in systems:
            each = [milliseconds(system, [line]) for line in sources[: given.sentences]]
            whole = milliseconds(system, sources) / len(sources)
            if number:
                system.one.append(statistics.fmean(each))
                system.batched.append(whole)
        print(f"round {number} of {given.rounds}", flush=True)
    rows = [row_of(system, systems, sources) for system in systems]
    figures = {f"{row['student']}_relative_time": float(row["relative_time"]) for row in rows}
    claim = "Decoding time on one core of a CPU, relative to vanilla NAT: one sentence at a time, and in batches"
    name = "nat-multi30k-en-de-speed"
    print(f"wrote {write_result(name, claim=claim, figures=figures, rows=rows, started=started, path=given.results)}")


def opened(run: Path, teachers: Path) -> Iterator[Timed]:
    """Every student that was trained, and the teacher four times."""
    for name, stage in STUDENTS.items():
        if (run / stage / "model").is_dir():
            given: dict[str, Any] = {"model": run / stage}
            given |= {"penalty_file": run / f"penalty-{stage}"} if name in INSERTING else {"beam": 5}
            yield timed(name, given)
    for engine in ("torch", "ctranslate2"):
        for beam in (5, 1):
            given = {"model": teachers / "at-base", "engine": engine, "beam": beam}
            yield timed(f"at_{engine}_beam{beam}", given)


def timed(name: str, given: dict[str, Any]) -> Timed:
    settings = TranslateOptions.model_validate(given)
    return Timed(name, open_engine(settings), decoding_options(settings, settings.model), [], [])


def milliseconds(system: Timed, lines: list[str]) -> float:
    began = time.perf_counter()
    system.engine.decode(lines, system.options)
    return 1000 * (time.perf_counter() - began)


def row_of(system: Timed, systems: list[Timed], sources: list[str]) -> dict[str, Any]:
    """Milliseconds and ratios to vanilla NAT; how much faster than the teacher on our engine with beam 5 and 1."""
    named = {each.name: each for each in systems}
    one, batched = statistics.median(system.one), statistics.median(system.batched)
    found = [hypotheses[0] for hypotheses in system.engine.decode(sources, system.options)]
    passes, iterations = mean_effort([(best.passes, best.iterations) for best in found])
    row: dict[str, Any] = {"student": system.name, "milliseconds_per_sentence": round(one, 3)}
    row["relative_time"] = round(one / statistics.median(named["vanilla"].one), 3)
    for beam in (5, 1):
        row[f"times_faster_than_beam{beam}"] = round(statistics.median(named[f"at_torch_beam{beam}"].one) / one, 3)
    row["milliseconds_in_batches"] = round(batched, 3)
    row["relative_time_in_batches"] = round(batched / statistics.median(named["vanilla"].batched), 3)
    for beam in (5, 1):
        teacher = statistics.median(named[f"at_torch_beam{beam}"].batched)
        row[f"times_faster_in_batches_than_beam{beam}"] = round(teacher / batched, 3)
    return row | {"passes": round(passes, 3) or None, "iterations": round(iterations, 3) or None}


if __name__ == "__main__":
    with reported():
        main()
