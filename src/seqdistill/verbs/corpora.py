"""Corpora for `measure`: found by path, named, aligned with the real one line by line, and checked.

What is wrong with text is found here, in one pass over it, before the hours of aligning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from seqdistill.data.directory import DataDirectory
from seqdistill.errors import UserError
from seqdistill.manifest import FINISHED, UNFINISHED
from seqdistill.measures.comparable import check_common, other_source
from seqdistill.options import MeasureOptions
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.languages import Languages
from seqdistill.text.letters import as_file_name, is_visible
from seqdistill.text.tables import table_format

PAGE = "measures.html"
"""The page, among the folders of corpora."""


class Corpus(NamedTuple):
    """Text to measure, by the name it has in tables and as a folder of the output."""

    name: str
    text: ParallelCorpus
    lowercase: bool
    """Whether it was made for models that know no case."""
    languages: Languages = Languages()
    """As its data directory has them."""
    data: Path | None = None
    """Its data directory, where it lies in one."""


def corpora_to_measure(settings: MeasureOptions) -> tuple[Corpus | None, list[Corpus]]:
    """The real corpus, if one was named, and all to measure, the real one first.

    Raises:
        UserError: a corpus that is not there, or is named twice, or has other line counts than the real one.
    """
    paths = [path for path in settings.corpora if path != settings.real]
    if settings.real is not None:
        paths.insert(0, settings.real)
    if len(set(paths)) < len(paths):
        raise UserError(f"a corpus is named twice: {', '.join(map(str, paths))}; name each once")
    names = _names(paths, taken=(FINISHED, UNFINISHED, PAGE))
    corpora = [_corpus(path, name, settings) for path, name in zip(paths, names, strict=True)]
    if settings.real is None:
        return None, corpora
    real = corpora[0]
    return real, [real, *(_line_by_line(real, corpus) for corpus in corpora[1:])]


def languages_of(corpora: Sequence[Corpus]) -> Languages:
    """What the data directories among them say of their languages.

    Raises:
        UserError: two of them are of other languages.
    """
    known = {corpus.languages: corpus.name for corpus in reversed(corpora) if any(corpus.languages)}
    if len(known) > 1:
        listed = "; ".join(f"{name}: {one.source or '?'} to {one.target or '?'}" for one, name in known.items())
        raise UserError(
            f"corpora of other languages ({listed}), whose words differ: measure them apart, or prepare them with the "
            "same --source-language, --target-language and --tokenize"
        )
    return next(iter(known), Languages())


def check_lines(
    real: Corpus | None, corpora: Sequence[Corpus], *, sentence: int, split: Callable[[str], list[str]]
) -> None:
    """Looks through the text for what could not be measured once all is aligned.

    Args:
        sentence: the line to draw; 0: any.
        split: the words of a source.

    Raises:
        UserError: a line whose source is not the real one's, less than two lines in common with the real corpus, or a
            line to draw that a corpus does not reach, or that is blank in all.
    """
    if sentence:
        _check_drawn(corpora, sentence)
    for corpus in corpora:
        if real is not None and corpus is not real:
            _check_sources(real, corpus, split)


def _check_drawn(corpora: Sequence[Corpus], sentence: int) -> None:
    there = False
    for corpus in corpora:
        num_lines = 0
        for num_lines, pair in enumerate(corpus.text, start=1):
            there |= num_lines == sentence and all(map(is_visible, pair))
        if sentence > num_lines:
            raise UserError(f"sentence = {sentence}: {corpus.name} has {num_lines:,} lines; name one of them")
    if not there:
        raise UserError(f"sentence = {sentence}: no corpus has words on both sides at this line; name another one")


def _check_sources(real: Corpus, distilled: Corpus, split: Callable[[str], list[str]]) -> None:
    common = 0
    for line, (one, other) in enumerate(zip(distilled.text, real.text, strict=True), start=1):
        if not all(map(is_visible, (*one, *other))):
            continue
        common += 1
        if one.source != other.source and (words := (split(one.source), split(other.source)))[0] != words[1]:
            raise other_source(line, (distilled.name, real.name), words)
    check_common(common, distilled.name, real.name)


def _names(paths: Sequence[Path], *, taken: Collection[str] = ()) -> list[str]:
    """The shortest path endings that are unique, fit as folder names and not taken; numbered where none are."""
    parts = [path.absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [as_file_name("-".join(part[-depth:])) for part in parts]
        if len({*names, *taken}) == len(names) + len(taken):
            return names
    names: list[str] = []
    for part in parts:
        name = as_file_name(part[-1])
        numbered = (f"{name}-{number}" for number in count(2))
        names.append(next(other for other in chain([name], numbered) if other not in (*names, *taken)))
    return names


def _corpus(path: Path, name: str, settings: MeasureOptions) -> Corpus:
    if settings.source is not None:
        if path.is_dir():
            raise UserError(f"{path}: with --source every corpus is a file of targets, but this is a directory")
        return Corpus(name, ParallelCorpus.from_files(settings.source, path), False)
    if path.is_dir():
        data = DataDirectory.open(path)
        pairs = ParallelCorpus(str(path), lambda: zip(data.train.sources(), data.train.targets(), strict=True))
        return Corpus(name, pairs, data.tokenizers.target.lowercase, data.languages, path)
    if path.is_file() and not table_format(path):
        raise UserError(
            f"{path}: expected a data directory, or a table (.tsv, .jsonl, .parquet); if it is a file of targets, give "
            "their sources with --source"
        )
    return Corpus(name, ParallelCorpus.from_table(path, settings.source_column, settings.target_column), False)


def _line_by_line(real: Corpus, distilled: Corpus) -> Corpus:
    """The distilled corpus with an empty target at each real line it lacks, where it is the real one but for those.

    `distill` drops a line for which the teacher wrote nothing; with the gap, all others keep their line numbers.

    Raises:
        UserError: other line counts than the real corpus.
    """
    num_real, num_distilled = (sum(1 for _ in corpus.text) for corpus in (real, distilled))
    if num_distilled == num_real:
        return distilled

    def pairs() -> Iterator[tuple[str, str]]:
        waiting = iter(distilled.text)
        pair = next(waiting, None)
        for source in real.text.sources():
            if pair is not None and pair.source == source:
                yield pair
                pair = next(waiting, None)
            else:
                yield source, ""

    with_gaps = ParallelCorpus(distilled.name, pairs)
    if num_distilled > num_real or sum(1 for pair in with_gaps if pair.target) != num_distilled:
        raise UserError(
            f"{distilled.name} has {num_distilled:,} lines but the real corpus {real.name} has {num_real:,}; expected "
            "a distilled target for each real line: give the corpus it was distilled from"
        )
    return distilled._replace(text=with_gaps)
