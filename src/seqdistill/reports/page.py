"""One self-contained HTML page about a run: scores, plots, translations side by side, and how it all was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from seqdistill.decoding.trace import Trace
from seqdistill.reports.columns import (
    Row,
    best_rows,
    column,
    columns_of,
    folded,
    is_numeric,
    signatures_of,
    with_intervals,
)
from seqdistill.reports.figures import cost_plots
from seqdistill.reports.html import rendered, write_html
from seqdistill.reports.plots import Labels, Line, category_plot, inline, line_plot, share_plot

SYSTEMS_NOTE = "One row a system; the best value of a column is marked."


class Curve(NamedTuple):
    """The training of one system: its rows of log.jsonl (see `training.log.read_log`)."""

    name: str
    rows: Sequence[Mapping[str, Any]]


class Example(NamedTuple):
    """One line of the test set, and each system's translation of it."""

    source: str
    reference: str
    translations: Mapping[str, str]


class Part(NamedTuple):
    """A section of its own: a table, plots, or both.

    Args:
        rows: keyed as those of systems; the first column heads the row.
        plots: SVG by title.
    """

    heading: str
    note: str
    rows: Sequence[Row]
    plots: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """What the page shows; whatever is empty is left out.

    Args:
        intro: a paragraph or a few.
        systems: a row each, keyed by the names in columns.COLUMNS (`system` first; signatures as `bleu_signature`).
            Quality is plotted against `sentences_per_second` and `parameters` where the rows have them.
        highlights: a few numbers for the top, by what they are.
        curves: of training.
        by_length: BLEU of each system by the label of each bucket of lengths.
        parts: after the table of systems.
        traces: of each non-autoregressive system, how a few of its translations came about.
        manifests: of each stage, by its name.
    """

    title: str
    intro: str = ""
    systems: Sequence[Row] = ()
    highlights: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    by_length: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parts: Sequence[Part] = ()
    examples: Sequence[Example] = ()
    traces: Mapping[str, Sequence[Trace]] = field(default_factory=dict)
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_page(page: Page, path: Path) -> None:
    """Writes the page as one HTML file that loads nothing; raises as `write_html`."""
    write_html(path, render(page))


def render(page: Page) -> str:
    """The page as HTML: equal input gives equal text."""
    systems = Group("systems", "Systems", SYSTEMS_NOTE, [], _table(page.systems), signatures_of(page.systems))
    parts = (_part(number, part) for number, part in enumerate(page.parts, 1))
    groups = [systems, *parts, _quality(page), _training(page), _imitation(page)]
    groups = [group for group in groups if group.columns or group.plots]
    sections = [Section(group.anchor, group.heading) for group in groups]
    sections += [Section("translations", "Translations")] if page.examples else []
    sections += [Section("refinement", "Refinement")] if page.traces else []
    sections += [Section("manifests", "How it was made")] if page.manifests else []
    return rendered(
        "page.html",
        page=page,
        sections=sections,
        groups=groups,
        manifests=[_manifest(name, manifest) for name, manifest in page.manifests.items()],
    )


class Section(NamedTuple):
    """A part of the page that can be linked to."""

    anchor: str
    heading: str


class Plot(NamedTuple):
    """A plot with its title."""

    title: str
    svg: Markup


class TableColumn(NamedTuple):
    """A column, ready to write."""

    title: str
    numeric: bool
    cells: list[str]
    best: set[int]


class Group(NamedTuple):
    """A section with a table, plots, or both, ready to write."""

    anchor: str
    heading: str
    note: str
    plots: Sequence[Plot]
    columns: Sequence[TableColumn] = ()
    signatures: Sequence[str] = ()


class Manifest(NamedTuple):
    """A manifest, ready to write."""

    name: str
    summary: str
    entries: list[tuple[str, str]]


def _part(number: int, part: Part) -> Group:
    anchor = f"part-{number}"
    plots = [Plot(title, _markup(svg, anchor, at)) for at, (title, svg) in enumerate(part.plots.items())]
    return Group(anchor, part.heading, part.note, plots, _table(part.rows), signatures_of(part.rows))


def _table(rows: Sequence[Row]) -> list[TableColumn]:
    columns = {name: [row.get(name) for row in rows] for name in folded(columns_of(rows))}
    return [
        TableColumn(column(name).title, is_numeric(values), with_intervals(name, rows), best_rows(name, values))
        for name, values in columns.items()
    ]


def _quality(page: Page) -> Group:
    drawn = cost_plots(page.systems)
    note = "The dashed line joins the systems that no other one beats on both axes." if drawn else ""
    if page.by_length:
        title = "BLEU by length of the source"
        drawn[title] = category_plot(page.by_length, Labels(title, "words in the source", "BLEU", _names(page)))
        note += " By length, it is corpus BLEU of the sentences of each length."
    plots = [Plot(title, _markup(svg, "quality", i)) for i, (title, svg) in enumerate(drawn.items())]
    return Group("quality", "Quality against cost and length", note.strip(), plots)


def _training(page: Page) -> Group:
    validations = {curve.name: [row for row in curve.rows if row.get("kind") == "valid"] for curve in page.curves}
    names = dict.fromkeys(key for rows in validations.values() for row in rows for key in row)
    measured = [name for name in names if name not in ("kind", "update", "perplexity")]
    measured.sort(key=lambda name: name == "loss")
    plots = []
    for i, name in enumerate(measured):
        lines = [
            Line(system, [row["update"] for row in rows if name in row], [row[name] for row in rows if name in row])
            for system, rows in validations.items()
        ]
        label = "loss, nats a token" if name == "loss" else column(name).title
        title = f"{column(name).title} of the validation data"
        drawn = [line for line in lines if line.x]
        svg = line_plot(drawn, Labels(title, "updates", label, _names(page)))
        plots.append(Plot(title, _markup(svg, "training", i)))
    note = "Measured on the validation data with greedy decoding while the models trained."
    return Group("training", "Training", note, plots)


def _imitation(page: Page) -> Group:
    """What trainings with a teacher logged (distillation/log_metrics.py)."""
    logs = {curve.name: [row for row in curve.rows if "teacher_time_share" in row] for curve in page.curves}
    logs = {name: rows for name, rows in logs.items() if rows}
    names, plots = _names(page), dict[str, str]()
    for key, title in SHARES.items():
        lines = [_line(name, rows, key) for name, rows in logs.items() if any(row.get(key) for row in rows)]
        if lines:
            plots[title] = line_plot(lines, Labels(title, "updates", "share", names))
    for key, (title, label) in BY_POSITION.items():
        means = {name: _by_position(rows, key) for name, rows in logs.items()}
        if series := {name: groups for name, groups in means.items() if groups}:
            plots[title] = category_plot(series, Labels(title, "position in the target", label, names))
    if logs:
        title = "Where the time of an update goes"
        plots[title] = share_plot(
            {name: _time(rows) for name, rows in logs.items()}, Labels(title, "share of the time", "")
        )
    note = (
        "Of trainings with a teacher, while they learned; positions and times are means over the last fifth of the log."
    )
    drawn = [Plot(title, _markup(svg, "imitation", i)) for i, (title, svg) in enumerate(plots.items())]
    return Group("imitation", "Learning from a teacher, position by position", note, drawn)


SHARES = {
    "rollout_share": "Targets that are roll-outs of the student",
    "truncated_share": "Roll-outs cut off at the length limit",
}
BY_POSITION = {
    "divergence": ("Divergence from the teacher by position", "nats"),
    "disagreement": ("Labels that differ from the target by position", "share"),
}


def _line(name: str, rows: Sequence[Mapping[str, Any]], key: str) -> Line:
    present = [row for row in rows if key in row]
    return Line(name, [row["update"] for row in present], [row[key] for row in present])


def _late(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """The mean over the last fifth of the rows, where they have it."""
    values = [row[key] for row in rows[-max(1, len(rows) // 5) :] if key in row]
    return sum(values) / len(values) if values else 0.0


def _by_position(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Late means by group of positions, such as `5-8`; the log has the first position of each group."""
    marks = {name for row in rows for name in row if name.startswith(f"{key}_from_")}
    starts = sorted(int(name.rpartition("_")[2]) for name in marks)
    ends = [f"-{start - 1}" for start in starts[1:]] + ["+"]
    return {f"{start}{end}": _late(rows, f"{key}_from_{start}") for start, end in zip(starts, ends, strict=False)}


def _time(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    parts = {"roll-outs": _late(rows, "rollout_time_share"), "teacher": _late(rows, "teacher_time_share")}
    return parts | {"student": max(0.0, 1 - sum(parts.values()))}


def _names(page: Page) -> list[str]:
    """Systems in the order of the table, which fixes their looks in every plot."""
    return list(dict.fromkeys(str(row["system"]) for row in page.systems if row.get("system") is not None))


def _markup(svg: str, group: str, number: int) -> Markup:
    return Markup(inline(svg, f"{group}-{number}"))


def _manifest(name: str, manifest: Mapping[str, Any]) -> Manifest:
    facts = [str(manifest["kind"])] if "kind" in manifest else []
    seconds = manifest.get("wall_seconds")
    if isinstance(seconds, (int, float)):
        facts.append(f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min")
    return Manifest(name, " · ".join(facts), list(_flat(manifest, "")))


def _flat(value: object, prefix: str) -> Iterator[tuple[str, str]]:
    """Nested objects as rows such as (`options.beam`, `5`)."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
