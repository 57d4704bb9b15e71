"""`measure`: what a corpus is like, what distillation did to it, and which corpus suits which student."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdistill.errors import UserError
from seqdistill.files import written_beside
from seqdistill.measures.advice import Advised, advise, check_students
from seqdistill.measures.alignment import Alignment, align
from seqdistill.measures.bitext import read_bitext
from seqdistill.measures.intervals import check_resampling
from seqdistill.measures.links import write_pharaoh
from seqdistill.measures.measure import Measures, measure
from seqdistill.measures.symmetry import check_heuristic
from seqdistill.measures.tokenizers import WordTokenizer, create_tokenizer
from seqdistill.options import MeasureOptions
from seqdistill.progress import Progress
from seqdistill.reports.corpus_page import CorpusPage, corpus_table, definitions, write_corpus_page
from seqdistill.reports.corpus_plots import AlignedPair
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.languages import Languages, guessed_tokenizer
from seqdistill.threads import usable_cores
from seqdistill.verbs.corpora import PAGE, Corpus, check_lines, corpora_to_measure, languages_of
from seqdistill.verbs.measured import places

READABLE = range(8, 21)
"""Words on each side of the sentence pair that is drawn, where there is one."""


def check(settings: MeasureOptions) -> None:
    """Raises UserError for options that no measuring can have, before any text is read."""
    check_students(settings.student)
    for name in [*settings.links, settings.reordering_links]:
        check_heuristic(name)
    if settings.scratch is not None and not settings.scratch.is_dir():
        raise UserError(f"scratch = {settings.scratch}: no such folder; make it, or name one that is there")
    _create_tokenizers(settings, Languages(), lowercase=True)
    if not settings.corpora:
        raise UserError("measure needs at least one corpus: a data directory, a table, or with --source targets")


def measure_corpora(settings: MeasureOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes a folder for each corpus (links, lexical table, sentences.tsv) and the page measures.html.

    Returns:
        "corpora": a row for each; "advice" and "excluded": a row for each kind of student and each useless corpus;
        "notes": what does not follow; "places": where the text lies, for who needs it again.

    Raises:
        UserError: text that cannot be read, or corpora that cannot be compared (see `measures.measure.measure`).
    """
    check(settings)
    real, corpora = corpora_to_measure(settings)
    lowercase = settings.lowercase or any(corpus.lowercase for corpus in corpora)
    tokenizers = _create_tokenizers(settings, languages_of(corpora), lowercase=lowercase, text=corpora[0].text)
    check_lines(real, corpora, sentence=settings.sentence, split=tokenizers[0].split)
    measured, drawn = [], _Drawn(settings.sentence)
    real_alignment = None
    for corpus in corpora:
        alignment = _aligned(corpus, settings, out / corpus.name, progress, tokenizers)
        found = measure(
            alignment,
            None if corpus is real else real_alignment,
            smoothing=settings.smoothing,
            reordering_links=settings.reordering_links,
            num_samples=settings.samples,
            seed=settings.bootstrap_seed,
            progress=progress,
        )
        real_alignment = alignment if corpus is real else real_alignment
        _write_sentences(out / corpus.name / "sentences.tsv", found)
        drawn.add(alignment, found)
        measured.append(found)
    distilled = measured[1:] if real is not None else measured
    advised = advise(distilled, measured[0] if real is not None else None, students=settings.student)
    write_corpus_page(_page(measured, advised, drawn), out / PAGE)
    return _results(measured, advised) | {"places": places(settings, out)}


def _create_tokenizers(
    settings: MeasureOptions, languages: Languages, *, lowercase: bool, text: ParallelCorpus | None = None
) -> tuple[WordTokenizer, WordTokenizer]:
    """Of both sides: as the options say, or the language that is given or known, or the letters of the text."""

    def create(side: str, known: str) -> WordTokenizer:
        language = getattr(settings, f"{side}_language") or known
        name = getattr(settings, f"{side}_tokenizer")
        if not (name or language or text is None):
            name = guessed_tokenizer(getattr(text, f"{side}s")())
        normalization = settings.normalization or "nmt_nfkc"
        return create_tokenizer(language, name=name, lowercase=lowercase, normalization=normalization)

    return create("source", languages.source), create("target", languages.target)


def _aligned(
    corpus: Corpus,
    settings: MeasureOptions,
    folder: Path,
    progress: Progress,
    tokenizers: tuple[WordTokenizer, WordTokenizer],
) -> Alignment:
    """The corpus' alignment: read where an earlier run of this stage left it, otherwise made and written."""
    workers = settings.workers or usable_cores()
    bitext = read_bitext(corpus.text, *tokenizers, name=corpus.name, workers=workers, progress=progress)
    check_resampling(len(bitext), settings.samples)
    if (folder / "alignment.json").exists():
        return Alignment.load(folder, bitext, settings)
    alignment = align(bitext, settings, workers=workers, scratch=settings.scratch, progress=progress)
    others = [f"{name}.pharaoh" for name in settings.links]
    for name, other in zip(settings.links, others, strict=True):
        write_pharaoh(folder / other, alignment.symmetrized(name, progress=progress), bitext)
    if settings.text_table:
        others.append("table.tsv.gz")
        alignment.table.write_text(folder / "table.tsv.gz")
    alignment.save(folder, others=others)
    return alignment


def _write_sentences(path: Path, found: Measures) -> None:
    """A line for each pair that was measured, under a line of names; empty where a sentence has no such value."""
    columns = {name: one.sentences for name, one in found.measures.items()}
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(["line", *columns]) + "\n")
        for number, *values in zip(
            found.lines.tolist(), *(column.tolist() for column in columns.values()), strict=True
        ):
            cells = ("" if math.isnan(value) else f"{value:.6g}" for value in values)
            file.write("\t".join([str(number), *cells]) + "\n")


class _Drawn:
    """The line of the text whose alignment is drawn, in every corpus that has it.

    Unless one is asked for, the line whose reordering score grows most from the first corpus to the second, of those
    with a READABLE number of words; the lowest of equal ones.
    """

    def __init__(self, line: int) -> None:
        self.line = line
        self._pairs: list[AlignedPair] = []
        self._waiting: list[tuple[Alignment, Measures]] = []

    def add(self, alignment: Alignment, found: Measures) -> None:
        """Draws the line as soon as it is known which one it is."""
        self._waiting.append((alignment, found))
        if self.line or len(self._waiting) == 2:
            self._draw()

    def pairs(self) -> list[AlignedPair]:
        """The line in each corpus, once all were added."""
        self._draw()
        if not self._pairs:
            raise UserError(f"sentence = {self.line}: no corpus has words on both sides at this line; name another one")
        return self._pairs

    def _draw(self) -> None:
        self.line = self.line or _most_changed(self._waiting)
        for alignment, _ in self._waiting:
            bitext = alignment.bitext
            at = int(np.searchsorted(bitext.lines, self.line))
            if at < len(bitext) and bitext.lines[at] == self.line:
                links = sorted({*alignment.forward.pair(at)}.intersection(alignment.reverse.pair(at)))
                words = bitext.source.sentence(at), bitext.target.sentence(at)
                self._pairs.append(AlignedPair(bitext.name, *words, alignment.posteriors(at), links))
        self._waiting.clear()


def _most_changed(corpora: Sequence[tuple[Alignment, Measures]]) -> int:
    """The line that gains most order from the first corpus to the last; that of one corpus with the least order."""
    scores = [_readable_scores(*corpus) for corpus in corpora]
    gains = scores[-1] - scores[0] if len(scores) > 1 and len(scores[-1]) == len(scores[0]) else -scores[0]
    best = int(np.nan_to_num(gains, nan=-np.inf).argmax())
    return best or int(corpora[0][0].bitext.lines[0])


def _readable_scores(alignment: Alignment, found: Measures) -> np.ndarray:
    """Reordering scores by line, from 1; NaN where a sentence is short, long, or without an order."""
    bitext, scores = alignment.bitext, found["reordering"].sentences
    by_line = np.full(bitext.num_lines + 1, np.nan)
    by_line[bitext.lines] = np.where(_readable(alignment), scores, np.nan)
    return by_line


def _readable(alignment: Alignment) -> np.ndarray:
    """Which pairs have a READABLE number of words on both sides."""
    lengths = alignment.bitext.source.lengths(), alignment.bitext.target.lengths()
    return np.logical_and(*((one >= READABLE.start) & (one < READABLE.stop) for one in lengths))


def _page(measured: Sequence[Measures], advised: Advised, drawn: _Drawn) -> CorpusPage:
    names = ", ".join(one.corpus for one in measured)
    pairs = drawn.pairs()
    return CorpusPage("Measures of parallel corpora", names, measured, advised, pairs, drawn.line)


def _results(measured: Sequence[Measures], advised: Advised) -> dict[str, Any]:
    return {
        "corpora": [one.row() for one in measured],
        "table": {column.title: column.cells for column in corpus_table(measured)},
        "definitions": [one._asdict() for one in definitions(measured)],
        "advice": [one._asdict() for one in advised.advice],
        "excluded": [one._asdict() for one in advised.excluded],
        "notes": advised.notes,
    }
