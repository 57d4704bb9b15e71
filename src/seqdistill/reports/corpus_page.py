"""One self-contained HTML page about measured corpora: the measures, what follows, plots, and an aligned sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from seqdistill.measures.advice import Advised
from seqdistill.measures.measure import Measures
from seqdistill.reports.corpus_plots import AlignedPair, Value, density_plot, interval_plot, pair_plot
from seqdistill.reports.html import rendered, write_html
from seqdistill.reports.page import Group, Plot, Section, TableColumn
from seqdistill.reports.plots import Labels, inline

TITLES = {
    "complexity": "Complexity C",
    "complexity_by_token": "C by token",
    "complexity_counted": "C, counted",
    "faithfulness": "Faithfulness F",
    "faithfulness_by_token": "F by token",
    "faithfulness_counted": "F, counted",
    "reordering": "Reordering score",
    "bleu": "BLEU against real",
    "type_token_ratio": "Types / tokens",
    "source_length": "Source words",
    "target_length": "Target words",
    "length_ratio": "Length ratio",
    "repetitions": "Repetitions",
}
"""Headings of the measures, in tables and plots."""
PANELS = ("complexity", "faithfulness", "reordering", "bleu")
"""Of figure 3 of Zhou et al. 2020."""
DENSITIES = {
    "complexity": "Complexity of a sentence, nats",
    "reordering": "Reordering score of a sentence",
}
_CORPORA_NOTE = "One row a corpus; intervals hold 95 % of resampled corpora."
_DIGITS = {"bleu": 2, "source_length": 2, "target_length": 2, "repetitions": 5}


class Definition(NamedTuple):
    """Definition of a measure and its signature."""

    name: str
    definition: str
    signature: str


@dataclass(frozen=True)
class CorpusPage:
    """What the page shows.

    Args:
        corpora: measured ones; the real one first, if there is one.
        advised: the advice that follows from them; None where none does.
        pairs: one line of the text, aligned in each corpus.
        line: which one that is, from 1.
    """

    title: str
    intro: str
    corpora: Sequence[Measures]
    advised: Advised | None
    pairs: Sequence[AlignedPair] = ()
    line: int = 0

    @property
    def advice_note(self) -> str:
        """Above the table of advice."""
        note = "Weak students do best on simple data, strong ones on faithful data (Zhou et al. 2020, section 4.3)."
        left_out = [
            f"{one.corpus} is left out: {one.reason}." for one in (self.advised.excluded if self.advised else [])
        ]
        notes = [f"{one}." for one in (self.advised.notes if self.advised and self.advised.advice else [])]
        return " ".join([note, *left_out, *notes])


def write_corpus_page(page: CorpusPage, path: Path) -> None:
    """Writes the page as one HTML file that loads nothing; equal input gives equal bytes."""
    corpora = Group("corpora", "Corpora", _CORPORA_NOTE, [], corpus_table(page.corpora))
    advice = Group("advice", "Which corpus for which student", page.advice_note, [], _advice_table(page.advised))
    groups = [corpora, advice, _panels(page), _densities(page), _aligned(page)]
    groups = [group for group in groups if group.columns or group.plots]
    sections = [Section(group.anchor, group.heading) for group in groups] + [Section("definitions", "Definitions")]
    html = rendered("corpora.html", page=page, sections=sections, groups=groups, definitions=definitions(page.corpora))
    write_html(path, html)


def corpus_table(corpora: Sequence[Measures]) -> list[TableColumn]:
    """A column for each measure that any corpus has, each cell a value with its interval."""
    columns = [
        TableColumn("Corpus", False, [one.corpus for one in corpora], set()),
        TableColumn("Pairs", True, [f"{len(one.lines):,}" for one in corpora], set()),
    ]
    for name, title in TITLES.items():
        if any(name in one.measures for one in corpora):
            columns.append(TableColumn(title, True, [_cell(one, name) for one in corpora], set()))
    return columns


def definitions(corpora: Sequence[Measures]) -> list[Definition]:
    """Each measure's definition with its signature; several where corpora were tokenised differently."""
    found = {
        Definition(TITLES[name], measure.definition, measure.signature): None
        for name in TITLES
        for one in corpora
        if (measure := one.measures.get(name))
    }
    return list(found)


def _cell(one: Measures, name: str) -> str:
    if not _exists(one, name):
        return "–"
    digits, found = _DIGITS.get(name, 3), one[name]
    return f"{found.value:.{digits}f} [{found.interval.low:.{digits}f}, {found.interval.high:.{digits}f}]"


def _exists(one: Measures, name: str) -> bool:
    return name in one.measures and not np.isnan(one[name].value)


def _advice_table(advised: Advised | None) -> list[TableColumn]:
    if advised is None or not (advised.advice or advised.notes):
        return []
    if not advised.advice:
        return [TableColumn("No advice", False, advised.notes, set())]
    columns = zip(*advised.advice, strict=True)
    titles = ("Student", "Train it on", "Because", "Evidence")
    return [TableColumn(title, False, list(cells), set()) for title, cells in zip(titles, columns, strict=True)]


def _panels(page: CorpusPage) -> Group:
    names = [one.corpus for one in page.corpora]
    plots = []
    for name in PANELS:
        values = {one.corpus: Value(one[name].value, *one[name].interval) for one in page.corpora if _exists(one, name)}
        if values:
            svg = interval_plot(values, Labels(TITLES[name], TITLES[name], "", names))
            plots.append(Plot(TITLES[name], Markup(inline(svg, f"panel-{name}"))))
    note = "F is 0 for the real data and grows as a corpus departs from it; a reordering score of 1 is monotone."
    return Group("panels", "Measures side by side", note, plots)


def _densities(page: CorpusPage) -> Group:
    names = [one.corpus for one in page.corpora]
    plots = []
    for name, label in DENSITIES.items():
        values = {one.corpus: sentences for one in page.corpora if (sentences := _defined(one, name)).size}
        if values:
            svg = density_plot(values, Labels(label, label, "density", names))
            plots.append(Plot(label, Markup(inline(svg, f"density-{name}"))))
    note = "Over the sentences of each corpus; of a sentence, complexity is the sum over its source words."
    return Group("densities", "Sentence by sentence", note, plots)


def _defined(one: Measures, name: str) -> np.ndarray:
    sentences = one[name].sentences
    return sentences[~np.isnan(sentences)]


def _aligned(page: CorpusPage) -> Group:
    plots = [Plot(pair.name, Markup(inline(pair_plot(pair), f"pair-{i}"))) for i, pair in enumerate(page.pairs)]
    note = (
        f"Line {page.line:,} of the text. Shades: how probable it is that a source word (row) generated a target word "
        "(column); outlined: the links of both directions (intersection)."
    )
    return Group("pair", "One sentence pair", note, plots)
