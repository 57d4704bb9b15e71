"""`study modes`: in which languages outputs are written, how complex the data are, and a page that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdistill.files import read_json
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.options import ModesOptions
from seqdistill.progress import Progress
from seqdistill.reports.page import Page, Part, write_page
from seqdistill.reports.plots import Labels, share_plot
from seqdistill.reports.simplex import simplex_plot
from seqdistill.studies import modes

PAGE = "modes.html"
INTRO = (
    "Each source has targets in several languages and nothing says which one is wanted. A model whose words do not see "
    "each other mixes them; an autoregressive one chooses one, and data with one target for each source, as a "
    "teacher writes them, leave nothing to mix (Zhou et al. 2020, section 3.1)."
)


def check(options: ModesOptions) -> None:
    """Raises UserError for a tokeniser that is not there."""
    create_tokenizer(name=options.target_tokenizer or modes.USUAL_WORDS)


def study(options: ModesOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes modes.json (see `seqdistill.studies.modes.run`) and modes.html.

    Raises:
        UserError: see the parts.
    """
    results = modes.run(options, out, progress)
    write_page(page_of(results, read_json(out / modes.RESULTS)["posteriors"]), out / PAGE)
    return results


def page_of(results: Mapping[str, Any], posteriors: Mapping[str, Sequence[Sequence[float] | None]]) -> Page:
    """Tables of outputs and of corpora, a bar for each system, and where its outputs lie between the languages."""
    languages, threshold = results["languages"], results["threshold"]
    shares = {row["system"]: _shares(row, languages) for row in results["systems"]}
    title = "Outputs in one language alone, and mixed ones"
    plots = {title: share_plot(shares, Labels(title, "share of the outputs", ""))}
    if len(languages) in (2, 3):
        for name, lines in posteriors.items():
            values = np.array([line for line in lines if line is not None])
            plots[name] = simplex_plot(languages, values, threshold=threshold, title=f"Languages of {name}")
    outputs = Part(
        "Languages of the outputs",
        "The posterior of a language is the mean over an output's words of p(word | language), divided by its sum over "
        f"the languages. An output is in one language alone where that language's is above {threshold:.3g}; a line "
        "of one language may fall short where its words are shared by others, or unknown. Each dot is a place between "
        "the languages, its area the number of outputs there.",
        results["systems"],
        plots,
    )
    note = "Mean over source words of the entropy of their translations: by the aligner's model, and by its links."
    corpora = Part("Complexity of the data", note, results["corpora"], {})
    return Page("Modes in data and outputs", INTRO, parts=[outputs, corpora])


def _shares(row: Mapping[str, Any], languages: Sequence[str]) -> dict[str, float]:
    shares = {name: row[f"{name}_percent"] / 100 for name in languages}
    return shares | {"mixed": max(0.0, 1 - sum(shares.values()))}
