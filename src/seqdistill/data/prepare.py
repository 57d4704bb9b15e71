"""From text to a data directory: filter, hold out, draw, train the tokenizer, store every split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from seqdistill.data.unfinished import begin, build, finish, note, results
from seqdistill.errors import UserError
from seqdistill.journal import Record
from seqdistill.progress import Progress, Silent
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.filters import FilteredPairs, Filters
from seqdistill.text.languages import Languages, guessed_tokenizer
from seqdistill.text.splits import drawn, hold_out, one_target_each
from seqdistill.vocabulary.normalization import Normalization
from seqdistill.vocabulary.sentencepiece import Kind
from seqdistill.vocabulary.vocabularies import DESCRIPTION, Vocabularies, taken_from, train_vocabularies

_CHUNK = 16_384


def prepare(
    *,
    train: ParallelCorpus,
    valid: ParallelCorpus | None,
    test: ParallelCorpus | None,
    out: Path,
    filters: Filters | None = None,
    cut_source: int = 0,
    cut_target: int = 0,
    valid_size: int = 0,
    one_target: bool = False,
    train_size: int = 0,
    vocab_size: int = 8000,
    kind: Kind = "bpe",
    joint: bool = True,
    lowercase: bool = False,
    normalization: Normalization = "identity",
    character_coverage: float = 1.0,
    languages: Languages | None = None,
    tokenizer_from: Path | None = None,
    from_language: str = "",
    to_language: str = "",
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a data directory of `out`, or finishes one that was cut off; streams, so memory hardly grows with the text.

    Training pairs pass the filters, and no source of validation or test text, nor a near-copy, stays among them.
    Validation and test text is taken as it is. Text with several targets a line gives a pair for each of them.

    Args:
        out: an empty or new directory, or one where this same preparation began; the caller holds its lock.
        cut_source: words kept of every source, before the filters; 0: all.
        cut_target: words kept of every training target; those of validation and test stay whole.
        valid_size: training pairs held out after the filters, where there is no validation text; with several targets a
            source, the sources held out with all their targets.
        one_target: keep one training pair of each source, drawn at random after the filters.
        train_size: training pairs kept of those that are left, drawn at random; 0: all.
        languages: of the text. Where nothing says what the words of the targets are, and their letters are mostly of
            scripts without blanks, sacreBLEU's tokeniser is guessed from them.
        tokenizer_from: what `taken_from` takes a tokenizer from; without it, one is trained on the training text, as
            vocab_size, kind, joint, lowercase, normalization and character_coverage say.
        from_language, to_language: languages whose codes a multilingual tokenizer puts before sources and targets.
        seed: for holding out and drawing.

    Returns:
        What is worth recording: counts of each split, training pairs by filter, vocabulary sizes.

    Raises:
        UserError: `valid_size` beside validation text; no pair is left after the filters (says which dropped how many),
            or fewer than `train_size`; `out` holds another preparation; faulty text; a full disk.
    """
    progress, filters, languages = progress or Silent(), filters or Filters(), languages or Languages()
    if valid is not None and valid_size:
        raise UserError(
            f"{valid_size} training pairs were to be held out for validation, but there is validation text "
            f"({valid.name}); leave out one of them"
        )
    train = train.cut(cut_source, cut_target)
    valid, test = (None if text is None else text.cut(cut_source, 0) for text in (valid, test))
    tokenizers = _taken(tokenizer_from, from_language, to_language)
    trained = {"vocab_size": vocab_size, "kind": kind, "joint": joint, "lowercase": lowercase}
    trained |= {"normalization": normalization, "character_coverage": character_coverage}
    options = {
        "filters": asdict(filters) | {"max_ratio": filters.max_ratio if math.isfinite(filters.max_ratio) else None},
        "num_targets": {name: text.num_targets for name, text in _present(train, valid, test)},
        "valid_size": valid_size,
        "one_target": one_target,
        "train_size": train_size,
        "seed": seed,
        "languages": languages._asdict(),
        "tokenizer": trained if tokenizers is None else tokenizers.fingerprint,
    }
    # All text is read once before anything is made: a changed file is another preparation, not a continued one.
    texts = {name: _digest(text) for name, text in _present(train, valid, test)}
    state = begin(out, Record("data", options, texts))
    if "fingerprint" in state:
        return results(state)
    clean, valid, filtered = _training_text(train, valid, test, filters, valid_size, seed)
    counted = {"held_out": sum(1 for _ in valid) if valid_size and valid is not None else 0}
    if one_target:
        clean, counted["other_target"] = one_target_each(clean, seed=seed)
    if train_size:
        clean, counted["not_drawn"] = drawn(clean, train_size, seed=seed)
    if tokenizers is None:
        tokenizers = _tokenizers(out, clean, progress, trained)
    tokenizers.save(out / "tokenizer")
    for name, text in _present(clean, valid, test):
        if name in state["splits"]:
            continue
        counts = build(text, tokenizers, out / f"{name}.arrow", name, progress)
        if name == "train":
            # What the filters kept and no later step accounts for was too near to a held-out source.
            near = filtered.counts["kept"] - counts.pairs - counts.empty - sum(counted.values())
            read = {name: filtered.counts[name] + sign * counts.empty for name, sign in (("kept", -1), ("empty", 1))}
            read |= {"held_out": counted.pop("held_out"), "near_held_out": near}
            state["filters"] = filtered.counts | read | counted
        note(out, state, name, counts, num_targets=text.num_targets)
    return finish(out, state, tokenizers, _with_words(languages, clean))


def _with_words(languages: Languages, clean: ParallelCorpus) -> Languages:
    """The languages, with a tokeniser guessed from the first targets where nothing says what their words are."""
    if languages.target or languages.tokenize:
        return languages
    return languages._replace(tokenize=guessed_tokenizer(clean.targets()))


def _present(
    train: ParallelCorpus, valid: ParallelCorpus | None, test: ParallelCorpus | None
) -> list[tuple[str, ParallelCorpus]]:
    named = {"train": train, "valid": valid, "test": test}
    return [(name, text) for name, text in named.items() if text is not None]


def _digest(text: ParallelCorpus) -> str:
    """Hash of every pair in order, wherever the text comes from."""
    digest, pairs = hashlib.sha256(), iter(text)
    while chunk := list(islice(pairs, _CHUNK)):
        digest.update("".join(f"{source}\n{target}\n" for source, target in chunk).encode())
    return digest.hexdigest()


def _training_text(
    train: ParallelCorpus,
    valid: ParallelCorpus | None,
    test: ParallelCorpus | None,
    filters: Filters,
    valid_size: int,
    seed: int,
) -> tuple[ParallelCorpus, ParallelCorpus | None, FilteredPairs]:
    """Training pairs that may be used, validation pairs, and the filters, whose counts are complete after a pass."""
    real = [source for text in (valid, test) if text is not None for source in text.sources()]
    filtered = FilteredPairs(train, filters, held_out_sources=real)
    clean = ParallelCorpus(train.name, lambda: _some(filtered, filtered, train.name), num_targets=train.num_targets)
    if valid_size:
        rest, valid, _ = hold_out(clean, valid=valid_size, test=0, seed=seed)
        clean = ParallelCorpus(train.name, lambda: _some(rest, filtered, train.name), num_targets=train.num_targets)
    return clean, valid, filtered


def _some(pairs: Iterable[SentencePair], filtered: FilteredPairs, name: str) -> Iterator[SentencePair]:
    """Passes the pairs on; raises UserError if there are none."""
    empty = True
    for pair in pairs:
        empty = False
        yield pair
    if empty:
        counts = dict(filtered.counts)
        read, kept = counts.pop("read", 0), counts.pop("kept", 0)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
        near = f"; the other {kept:,} are held out or near what is" if kept else ""
        raise UserError(
            f"{name}: no training pair is left of {read:,} (dropped by the filters: {reasons or 'none'}{near}); "
            "loosen the filters, hold out less, or give other text"
        )


def _taken(directory: Path | None, from_language: str, to_language: str) -> Vocabularies | None:
    if directory is not None:
        return taken_from(directory, source_language=from_language, target_language=to_language)
    if named := from_language or to_language:
        raise UserError(
            f"language {named!r} is for the codes of a tokenizer of many languages (--tokenizer-from); one that is "
            "trained here has none: leave it out"
        )
    return None


def _tokenizers(out: Path, clean: ParallelCorpus, progress: Progress, options: Mapping[str, Any]) -> Vocabularies:
    """The tokenizers that an earlier run finished, or newly trained ones."""
    if (out / "tokenizer" / DESCRIPTION).exists():
        return Vocabularies.load(out / "tokenizer")
    progress.start("training the tokenizer", total=None, unit="pairs")
    watched = ParallelCorpus(clean.name, lambda: _watched(clean, progress))
    tokenizers = train_vocabularies(watched, **options)
    progress.finish()
    return tokenizers


def _watched(pairs: Iterable[SentencePair], progress: Progress) -> Iterator[SentencePair]:
    stream = iter(pairs)
    while chunk := list(islice(stream, _CHUNK)):
        progress.advance(len(chunk))
        yield from chunk
