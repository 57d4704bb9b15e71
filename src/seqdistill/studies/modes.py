"""How many ways of translating are in the data, and do outputs mix them? The study of Zhou et al. 2020, section 3.1.

A source with targets in several languages and no tag to choose by has one mode a language. A model that writes left to
right chooses one; a non-autoregressive one, whose words do not see each other, mixes them unless its data leave it
nothing to mix. The posterior of each language shows it output by output, complexity in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdistill.data.directory import DESCRIPTION, DataDirectory
from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json
from seqdistill.measures.alignment import align
from seqdistill.measures.bitext import read_bitext
from seqdistill.measures.measure import measure
from seqdistill.measures.modes import (
    LanguageModels,
    Posteriors,
    halfway,
    language_models,
    single_language,
)
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.metrics.metric import SEPARATOR
from seqdistill.options import ModesOptions
from seqdistill.progress import Progress
from seqdistill.text.lines import read_lines
from seqdistill.threads import usable_cores

RESULTS = "modes.json"
USUAL_WORDS = "13a"
"""Tokeniser of words unless one is given: one for all languages, sources too."""
REFERENCES = "references"
"""Name of the evaluations' own references among the outputs: what the measure finds in text of one language each."""


def run(options: ModesOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Measures outputs and corpora, and writes modes.json: what is returned, and each output's posteriors.

    Returns:
        "figures" (complexity_NAME, single_language_NAME in percent), "systems" and "corpora" (a row each),
        "languages", "threshold" and "signature".

    Raises:
        UserError: a file or directory that is none of what is expected,
            outputs without words.
    """
    progress.start("reading the languages", total=len(options.language), unit="languages")
    texts = {}
    for name, path in options.language.items():
        texts[name] = language_text(path)
        progress.advance()
    progress.finish()
    tokenizer = create_tokenizer(name=options.target_tokenizer or USUAL_WORDS, lowercase=options.lowercase)
    models = language_models(texts, tokenizer, smoothing=options.add_k)
    posteriors = {name: models.posteriors(lines) for name, lines in all_outputs(options.output).items()}
    systems = [_row_of_system(name, found, models, options) for name, found in posteriors.items()]
    cores = options.workers or usable_cores()
    corpora = [_row_of_corpus(name, path, options, cores, progress) for name, path in options.training_data.items()]
    figures = {f"complexity_{_key(row['corpus'])}": row["complexity"] for row in corpora}
    figures |= {f"single_language_{_key(row['system'])}": row["single_language_percent"] for row in systems}
    results = {
        "figures": figures,
        "systems": systems,
        "corpora": corpora,
        "languages": list(models.languages),
        "threshold": round(halfway(len(texts)) if options.threshold is None else options.threshold, 4),
        "signature": models.signature,
    }
    by_line = {name: np.round(found.values, 4).tolist() for name, found in posteriors.items()}
    write_json(out / RESULTS, results | {"posteriors": _without_nan(by_line)})
    return results


def language_text(path: Path) -> list[str]:
    """The lines of a file, or the training targets of a data directory.

    Raises:
        UserError: neither, or data with several targets for a source, which are of no one language.
    """
    if not path.is_dir():
        return list(read_lines(path))
    data = DataDirectory.open(path)
    if data.num_targets["train"] > 1:
        raise UserError(
            f"{path}: its sources have several targets, which are of different languages; give text of one language, "
            "such as data prepared with one target"
        )
    return list(data.train.targets())


def all_outputs(output: Mapping[str, Path]) -> dict[str, list[str]]:
    """Lines by name; the references of the evaluations too, where all have the same and the name is free.

    Raises:
        UserError: a directory that is not an evaluation.
    """
    found, references = {}, list[tuple[list[str], int]]()
    for name, path in output.items():
        if path.is_dir() and not (path / "hypotheses.txt").is_file():
            there = "a data directory" if (path / DESCRIPTION).is_file() else "a directory without hypotheses.txt"
            raise UserError(
                f"output {name}: {path}: expected a directory that `evaluate` wrote, or a text file; found {there}"
            )
        found[name] = list(read_lines(path / "hypotheses.txt" if path.is_dir() else path))
        if (path / "references.txt").is_file():
            number = read_json(path / "scores.json").get("num_references", 1)
            references.append((list(read_lines(path / "references.txt")), number))
    if references and REFERENCES not in found and all(each == references[0] for each in references):
        lines, number = references[0]
        found[REFERENCES] = [text for line in lines for text in line.split(SEPARATOR, number - 1)]
    return found


def _row_of_system(name: str, found: Posteriors, models: LanguageModels, options: ModesOptions) -> dict[str, Any]:
    try:
        single = single_language(found, models.languages, threshold=options.threshold)
    except UserError as error:
        raise UserError(f"output {name}: {error}") from None
    written = found.with_words()
    return {
        "system": name,
        "lines": len(found.values),
        "without_words": len(found.values) - len(written),
        "unknown_words_percent": round(100 * float(found.num_unknown.sum() / found.num_words.sum()), 2),
        "single_language_percent": round(single.share.percent, 2),
        "single_language_low": round(single.share.low, 2),
        "single_language_high": round(single.share.high, 2),
        **{f"{name}_percent": round(100 * count / len(written), 2) for name, count in single.by_language.items()},
        "mean_highest_posterior": round(float(written.max(axis=1).mean()), 4),
        "posterior_signature": models.signature,
    }


def _row_of_corpus(name: str, path: Path, options: ModesOptions, workers: int, progress: Progress) -> dict[str, Any]:
    train = DataDirectory.open(path).train
    tokenizer = create_tokenizer(name=options.target_tokenizer or USUAL_WORDS, lowercase=options.lowercase)
    pairs = zip(train.sources(), train.targets(), strict=True)
    bitext = read_bitext(pairs, tokenizer, tokenizer, name=name, progress=progress)
    found = measure(align(bitext, workers=workers, progress=progress), progress=progress)
    row: dict[str, Any] = {"corpus": name, "pairs": len(found.lines)}
    for each in ("complexity", "complexity_counted"):
        value, interval = found[each].value, found[each].interval
        row |= {each: round(value, 4), f"{each}_low": round(interval.low, 4), f"{each}_high": round(interval.high, 4)}
        row[f"{each}_signature"] = found[each].signature
    return row


def _without_nan(by_line: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, list[list[float] | None]]:
    """None for a line without words; JSON has no NaN."""
    return {
        name: [None if values[0] != values[0] else list(values) for values in lines] for name, lines in by_line.items()
    }


def _key(name: str) -> str:
    return name.replace("-", "_")
