"""How long does one sentence take on one core? Table 7 of Lin et al. 2020; writes imitation-latency.

    python -m papers.lin2020.latency [--run runs/imitation-multi30k-de-en] [--sentences 100] [--rounds 5]

Models: the teacher, and one of each student that the recipe imitation-multi30k-de-en trained. The first sentences of
the test set are decoded one by one with beam 1 and 5; systems take turns on one thread, and a time is the median over
rounds of a sentence's mean. Transformers run on our own engine and on CTranslate2 (int8), what a user would deploy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evidence.rounds import medians, rounds
from evidence.script import arguments, execute, record, tell
from papers.decoders import open_decoder, sources_of_test_set
from seqdistill.models.saved import load_model

MODELS = {
    "teacher": "teacher",
    "sru3": "sru3-imitkd-full",
    "sru2": "sru2-imitkd-full-data-1",
    "gru2": "gru2-imitkd",
    "lstm2": "lstm2-imitkd",
    "transformer2": "transformer2-imitkd-full-data",
}
"""Stages by system."""
PUBLISHED = {"teacher": (269, 518), "sru3": (55, 97), "sru2": (37, 56), "transformer2": (78, 144)}
"""Milliseconds at beam 1 and 5 on IWSLT."""
BEAMS = (1, 5)


class Setup(NamedTuple):
    """What is timed."""

    system: str
    engine: str
    beam: int


def main() -> None:
    given = arguments(__doc__, run=Path("runs/imitation-multi30k-de-en"), sentences=100, rounds=5).parse_args()
    sources = sources_of_test_set(given.run / "data")[: given.sentences]
    setups = {f"{setup.system} {setup.engine} beam {setup.beam}": setup for setup in setups_of()}
    tasks = {
        name: open_decoder(model=given.run / MODELS[setup.system], engine=setup.engine, beam=setup.beam).one_by_one(
            sources
        )
        for name, setup in setups.items()
    }
    found = medians(rounds(tasks, given.rounds, tell=tell), lambda turn: 1000 * turn.seconds / len(sources))
    rows = list(rows_of(given.run, {setup: found[name] for name, setup in setups.items()}))
    teacher = next(row for row in rows if row["system"] == "teacher" and row["engine"] == "torch")
    figures = {
        f"{row['system']}_{'' if row['engine'] == 'torch' else 'ctranslate2_'}speedup_beam{beam}": teacher[
            f"milliseconds_beam{beam}"
        ]
        / row[f"milliseconds_beam{beam}"]
        for row in rows
        if row is not teacher
        for beam in BEAMS
    }
    claim = (
        "Milliseconds of one sentence on one core of a CPU, beside Lin et al. 2020, table 7; speed over the teacher's"
    )
    record("imitation-latency", given, claim=claim, figures=figures, rows=rows)


def setups_of() -> Iterator[Setup]:
    """Each system, engine and beam."""
    for system in MODELS:
        for engine in ("torch", "ctranslate2") if system in ("teacher", "transformer2") else ("torch",):
            for beam in BEAMS:
                yield Setup(system, engine, beam)


def rows_of(folder: Path, milliseconds: Mapping[Setup, float]) -> Iterator[dict[str, Any]]:
    """A row for each system and engine: both beams, ours beside the published."""
    for system, engine in dict.fromkeys((setup.system, setup.engine) for setup in milliseconds):
        model = load_model(folder / MODELS[system]).model
        row: dict[str, Any] = {"system": system, "engine": engine}
        row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        for beam, published in zip(BEAMS, PUBLISHED.get(system, (None, None)), strict=True):
            row[f"milliseconds_beam{beam}"] = round(milliseconds[Setup(system, engine, beam)], 3)
            row[f"published_milliseconds_beam{beam}"] = published
        yield row


if __name__ == "__main__":
    execute(main)
