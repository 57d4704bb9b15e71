"""`compare`: two outputs of the same text, and whether their difference holds."""

from __future__ import annotations

from pathlib import Path

from seqdistill.errors import UserError
from seqdistill.manifest import checked
from seqdistill.metrics.metric import SEPARATOR, joined_references
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import Comparison, compare
from seqdistill.metrics.tokenizers import completed
from seqdistill.options import CompareOptions
from seqdistill.text.languages import Languages, guessed_tokenizer
from seqdistill.text.lines import read_lines


def compare_files(options: CompareOptions, a: Path, b: Path) -> list[Comparison]:
    """Paired bootstrap resampling (Koehn, 2004) of B against A, for every metric asked for.

    Where neither language nor tokeniser is named, the references' letters tell whether words stand between blanks.

    Raises:
        UserError: files of different length, unreadable text, an unknown metric.
    """
    baseline, system = list(read_lines(checked(a))), list(read_lines(checked(b)))
    sources = list(read_lines(checked(options.source))) if options.source else None
    references = _references(options.reference)
    most = max((line.count(SEPARATOR) + 1 for line in references), default=1)
    if options.num_references > most:
        raise UserError(
            f"{options.reference[0]}: num_references is {options.num_references}, but no line has more than {most}; "
            "expected references with tabs between them: correct the file, or the number"
        )
    num_references = max(options.num_references, len(options.reference))
    scoring = completed(options, Languages(tokenize=guessed_tokenizer(references)), lowercase=False)
    return [
        compare(
            create_metric(name, scoring, sources=sources, num_references=num_references),
            baseline,
            system,
            references,
            num_samples=options.samples,
            seed=options.bootstrap_seed,
        )
        for name in options.metric_names
    ]


def _references(paths: list[Path]) -> list[str]:
    """The lines of a file, or those of several with tabs between them."""
    files = [list(read_lines(checked(path))) for path in paths]
    if len({len(lines) for lines in files}) > 1:
        counts = ", ".join(f"{path} {len(lines)}" for path, lines in zip(paths, files, strict=True))
        raise UserError(f"files of references have different numbers of lines ({counts}); give them line by line")
    return files[0] if len(files) == 1 else [joined_references(lines) for lines in zip(*files, strict=True)]
