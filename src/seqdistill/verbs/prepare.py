"""`prepare`: text from files or a public source becomes a data directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from seqdistill.data.prepare import prepare as prepare_data
from seqdistill.errors import UserError
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.tokenizers import completed
from seqdistill.options import MetricOptions, PrepareOptions
from seqdistill.progress import Progress
from seqdistill.text.corpus import ParallelCorpus, Splits
from seqdistill.text.filters import Filters
from seqdistill.text.languages import Languages
from seqdistill.text.sources import find_source, load_source, recommended_filters, split_languages


def check(settings: PrepareOptions) -> None:
    """Raises UserError for a public source or a tokeniser that is not there, or options that exclude each other."""
    create_metric("bleu", completed(MetricOptions(), languages_of(settings), lowercase=False))
    if settings.tokenizer_from is not None and settings.normalization is not None:
        raise UserError(
            f"normalization {settings.normalization!r} is for a vocabulary that is trained here, but --tokenizer-from "
            "names one, which has its own: leave out one of them"
        )
    if settings.corpus is not None and not settings.corpus.startswith("hub:"):
        find_source(settings.corpus)


def languages_of(settings: PrepareOptions) -> Languages:
    """The languages that were given, or those of the public corpus; none of several targets."""
    known: tuple[str, ...] = ()
    with suppress(UserError):  # columns of a data set of the hub, summaries
        known = split_languages(settings.languages or "") if settings.corpus else ()
    source, target = known if len(known) == 2 else ("", "")
    return Languages(settings.source_language or source, settings.target_language or target, settings.tokenize)


def prepare(settings: PrepareOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Reads, filters, splits, trains the tokenizer and stores; returns the counts.

    Raises:
        UserError: no text is named, or it is named twice; see the parts for faulty text.
    """
    check(settings)
    splits = _splits(settings, progress)
    found = prepare_data(
        train=splits.train,
        valid=splits.valid,
        test=splits.test,
        out=out,
        cut_source=settings.cut_source,
        cut_target=settings.cut_target,
        valid_size=settings.valid_size,
        one_target=settings.one_target,
        train_size=settings.train_size,
        vocab_size=settings.vocab_size,
        kind=settings.tokenizer,
        joint=settings.joint,
        lowercase=settings.lowercase,
        normalization=settings.normalization or "identity",
        character_coverage=settings.character_coverage,
        languages=languages_of(settings),
        tokenizer_from=settings.tokenizer_from,
        from_language=settings.from_language,
        to_language=settings.to_language,
        filters=_filters(settings),
        seed=settings.seed,
        progress=progress,
    )
    options = completed(MetricOptions(), Languages.read(found["languages"]), lowercase=settings.lowercase)
    return found | {"scored_by": create_metric("bleu", options).signature}


def _filters(settings: PrepareOptions) -> Filters:
    usual = recommended_filters(settings.corpus, settings.languages)
    return Filters(
        max_length=settings.max_words or usual.max_length,
        max_ratio=settings.max_word_ratio or usual.max_ratio,
        keep_duplicates=settings.keep_duplicates,
        keep_copies=settings.keep_copies,
    )


def _splits(settings: PrepareOptions, progress: Progress) -> Splits:
    own = {name: _corpus(settings, name) for name in ("", "valid_", "test_")}
    train, valid, test = own.values()
    if settings.corpus is None:
        if train is None:
            raise UserError(
                "prepare needs training text: --source with --target, --table, or --corpus with --languages "
                "(`seqdistill sources` lists the corpora)"
            )
        if settings.languages is not None:
            raise UserError("--languages names the languages of a public --corpus, but none is given; leave it out")
        return Splits(train, valid, test)
    if train is not None:
        raise UserError("--corpus and --source/--table both name training text; give one of them")
    public = load_source(settings.corpus, settings.languages, cache=settings.cache, progress=progress)
    return Splits(public.train, valid or public.valid, test or public.test)


def _corpus(settings: PrepareOptions, prefix: str) -> ParallelCorpus | None:
    source, target, table = (getattr(settings, f"{prefix}{part}") for part in ("source", "target", "table"))
    flag = f"--{prefix.replace('_', '-')}"
    if table is not None:
        if source or target:
            raise UserError(f"{flag}table and {flag}source/{flag}target name the same text; give one of them")
        return ParallelCorpus.from_table(table, settings.source_column, settings.target_column)
    if (source is None) != (not target):
        there, missing = ("target", "source") if target else ("source", "target")
        raise UserError(f"{flag}{there} is given without {flag}{missing}; parallel text has two sides")
    if len(set(target)) < len(target):
        raise UserError(f"{flag}target names {max(target, key=target.count)} twice; give each file of targets once")
    return ParallelCorpus.from_files(source, *target) if source else None
