"""How long does one sentence take on one core? Table 7 of Lin et al. 2020; writes imitation-latency.

    python -m papers.lin2020.latency --run runs/imitation-multi30k-de-en [--sentences 100] [--rounds 5]

Models: the teacher, and one of each student that the recipe imitation-multi30k-de-en trained. The first sentences of
the test set are decoded one by one with beam 1 and 5; systems take turns on one thread, and a time is the median over
rounds of a sentence's mean. Transformers run on our own engine and on CTranslate2 (int8), what a user would deploy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from evidence.results import write_result
from seqdistill.data.directory import DataDirectory
from seqdistill.errors import reported
from seqdistill.models.saved import load_model
from seqdistill.options import TranslateOptions
from seqdistill.verbs.engine import open_engine

STUDENTS = {
    "sru3": "sru3-imitkd-full",
    "sru2": "sru2-imitkd-full-data-1",
    "gru2": "gru2-imitkd",
    "lstm2": "lstm2-imitkd",
    "transformer2": "transformer2-imitkd-full-data",
}
PUBLISHED = {"teacher": (269, 518), "sru3": (55, 97), "sru2": (37, 56), "transformer2": (78, 144)}
"""Milliseconds at beam 1 and 5 on IWSLT."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/imitation-multi30k-de-en"))
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    started = time.time()
    torch.set_num_threads(1)
    test = DataDirectory.open(given.run / "data").test
    assert test is not None, "the recipe prepares test text"
    sources = list(test.sources())[: given.sentences]
    systems = list(opened(given.run))
    times: dict[tuple[str, str, int], list[float]] = {}
    for number in range(given.rounds + 1):  # the first round warms up
        for name, engine, settings, decoder in systems:
            began = time.perf_counter()
            for line in sources:
                decoder.decode([line], settings.options())
            each = 1000 * (time.perf_counter() - began) / len(sources)
            if number:
                times.setdefault((name, engine, settings.beam), []).append(each)
        print(f"round {number} of {given.rounds}", flush=True)
    rows = [row for row in rows_of(given.run, times) if row]
    teacher = next(row for row in rows if row["system"] == "teacher" and row["engine"] == "torch")
    figures = {
        f"{row['system']}_{'' if row['engine'] == 'torch' else 'ctranslate2_'}speedup_beam{beam}": round(
            teacher[f"milliseconds_beam{beam}"] / row[f"milliseconds_beam{beam}"], 3
        )
        for row in rows
        if row is not teacher
        for beam in (1, 5)
    }
    claim = (
        "Milliseconds of one sentence on one core of a CPU, beside Lin et al. 2020, table 7; speed over the teacher's"
    )
    path = write_result(
        "imitation-latency", claim=claim, figures=figures, rows=rows, started=started, path=given.results
    )
    print(f"wrote {path}")


def opened(run: Path) -> Any:
    """Each system, engine and beam, ready to decode."""
    for name, stage in {"teacher": "teacher", **STUDENTS}.items():
        for engine in ("torch", "ctranslate2") if name in ("teacher", "transformer2") else ("torch",):
            for beam in (1, 5):
                settings = TranslateOptions.model_validate({"model": run / stage, "engine": engine, "beam": beam})
                yield name, engine, settings, open_engine(settings)


def rows_of(run: Path, times: dict[tuple[str, str, int], list[float]]) -> Any:
    """A row for each system and engine: both beams, ours beside the published."""
    for name, engine in dict.fromkeys((name, engine) for name, engine, _ in times):
        model = load_model(run / {"teacher": "teacher", **STUDENTS}[name]).model
        row: dict[str, Any] = {"system": name, "engine": engine}
        row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        for beam, published in zip((1, 5), PUBLISHED.get(name, (None, None)), strict=True):
            row[f"milliseconds_beam{beam}"] = round(statistics.median(times[name, engine, beam]), 3)
            row[f"published_milliseconds_beam{beam}"] = published
        yield row


if __name__ == "__main__":
    with reported():
        main()
