"""The page and the plot of `bench`: quality against latency, throughput and size, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqdistill.files import write_text
from seqdistill.reports.figures import Figure, drawn, trade_off
from seqdistill.reports.page import Page, Part, write_page
from seqdistill.reports.plots import standalone

PAGE, PLOT = "bench.html", "bench.svg"

SPEEDS = ("latency_ms", "latency_p95_ms", "sentences_per_second", "times_faster")
"""Columns with the lowest and the highest round."""

FIGURES: dict[str, Figure] = {
    "latency": Figure("latency_ms", "against latency", "milliseconds a sentence, by itself", trade_off),
    "speed": Figure("sentences_per_second", "against throughput", "sentences a second, in batches", trade_off),
    "memory": Figure("memory_mb", "against memory", "most memory resident, MB", trade_off),
    "size": Figure("disk_mb", "against size", "MB on disk", trade_off),
}


def write_bench_page(results: Mapping[str, Any], out: Path) -> None:
    """Writes the page and the first of its plots as a file of its own."""
    plots = drawn(results["systems"], FIGURES)
    write_text(out / PLOT, standalone(plots["latency"][1]))
    part = bench_part("Systems", results)
    write_page(Page("Quality and speed", "\n".join(told(results)), parts=[part]), out / PAGE)


def bench_part(heading: str, results: Mapping[str, Any], *, told_here: bool = False) -> Part:
    """The table and the plots, as a part of a page; `told_here`: with how it was measured."""
    note = (
        "The dashed line joins the systems that no other one beats on both axes. In brackets, and as bars: of scores "
        "the interval that holds 95 % of resampled test sets, of speeds the lowest and the highest round."
    )
    note = " ".join([*told(results), note]) if told_here else note
    return Part(heading, note, results["systems"], dict(drawn(results["systems"], FIGURES).values()))


def told(results: Mapping[str, Any]) -> list[str]:
    """How it was measured: sentences, rounds, machine, and what must be known of a system."""
    machine, rounds = results["machine"], results["rounds"]
    cores = f"{machine['cores_used']} of {machine['cores']} cores"
    return [
        f"{results['timed_sentences']:,} sentences one by one, {results['sentences']:,} in batches, in "
        f"{rounds} round{'s' * (rounds > 1)}, in which the systems took turns; medians.",
        f"{machine['cpu']} ({_joined(machine['instructions'])}), {cores}.",
        *results.get("notes", []),  # older stages have none
    ]


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names) or "no vector instructions known"
