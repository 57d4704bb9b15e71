"""Sequence-level distillation: the teacher's outputs as training targets (Kim and Rush 2016, section 3.2; equation 1 of
Zhou et al. 2020, 3 of Lin et al. 2020), and interpolation: of its n-best outputs the one most like the reference
(Kim and Rush 2016, section 3.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seqdistill.data.directory import DataDirectory
from seqdistill.data.retarget import retarget
from seqdistill.data.store import Store
from seqdistill.data.targets import DistinctSources
from seqdistill.decoding.engine import Engine, check_engine
from seqdistill.decoding.shards import DecodedLine, decode_to_shards
from seqdistill.errors import UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.native.search import SPARE_TOKENS
from seqdistill.options import DecodingOptions
from seqdistill.options.decoding import SHARD_LINES
from seqdistill.progress import Progress
from seqdistill.text.splits import hash64, source_key

Similarity = Callable[[str, str], float]
"""(hypothesis, reference) -> how alike they are, such as smoothed sentence BLEU."""


def distill_corpus(
    *,
    data: DataDirectory,
    engine: Engine,
    out: Path,
    options: DecodingOptions,
    similarity: Similarity | None = None,
    select_among: int = 0,
    student: DataDirectory | None = None,
    load: Callable[[], Engine] | None = None,
    workers: int = 1,
    shard_lines: int = SHARD_LINES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes `out` a data directory whose training targets the teacher wrote; `out`/shards keeps all it wrote.

    Where sources have several targets, each different source is decoded once and has one target then. Validation and
    test stay real text. A line for which the teacher wrote nothing is dropped. The caller holds `out` (`files.locked`);
    a run that was cut off continues.

    Args:
        engine: the teacher: anything that turns text into text with scores.
        similarity: interpolation, with the hypothesis most like the reference, or like one of several; None: the
            teacher's best.
        select_among: how many of the best hypotheses are compared with the reference; 0: all `options.n_best`.
        load: loads the teacher in each of several workers; picklable. By default they get a pickled copy.
        student: a data directory whose tokenizers the new one takes; the vocabularies of teacher and student are free.

    Returns:
        The counts of `retarget`; `lines_per_second` decoded by this call, loading in workers included (None: all were
        there before); and measures of the new targets, see `_measures`.

    Raises:
        UserError: an option that the engine does not have; a training source is validation or test text; nothing to
            select among; what `decode_to_shards`, the engine and `retarget` raise.
    """
    check_engine(engine, options)
    _check_selection(options, similarity, select_among)
    refuse_held_out(data, [data] if student is None else [data, student])
    started, sources = time.perf_counter(), data.sources_to_decode
    decoded = decode_to_shards(
        sources,
        engine=(load if workers > 1 and load else partial(_same, engine)),
        engine_fingerprint=engine.fingerprint,
        options=options,
        out=out / "shards",
        shard_lines=shard_lines,
        workers=workers,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    tally = _Tally()
    targets = _targets(decoded, _references(sources), similarity, select_among or options.n_best, tally)
    counts = retarget(data, targets, out, tokenizers=student.tokenizers if student else None, progress=progress)
    speed = round(decoded.num_new_lines / seconds, 1) if decoded.num_new_lines else None
    measures = _measures(tally, Store.open(out / "train.arrow"), options)
    return counts | measures | {"lines_per_second": speed}


def most_similar(hypotheses: Sequence[TextHypothesis], references: Sequence[str], similarity: Similarity) -> int:
    """Which hypothesis is most like one of the references; among equals the teacher's favourite."""
    similarities = [max(similarity(each.text, reference) for reference in references) for each in hypotheses]
    # Hypotheses come best first, so -k prefers the one the teacher prefers.
    return max(range(len(similarities)), key=lambda k: (similarities[k], -k))


def refuse_held_out(data: DataDirectory, directories: Iterable[DataDirectory]) -> None:
    """Raises UserError where a training source of `data` is a validation or test source of any of the directories.

    Sources are compared as `prepare` does when it keeps them apart (`source_key`), so a directory that it made passes,
    and one line is enough to be refused: the teacher's output for it would teach the student what it is scored on.
    """
    held_out = {
        hash64(source_key(source)): f"{directory.path}/{name}.arrow"
        for directory in directories
        for name, store in (("test", directory.test), ("valid", directory.valid))
        if store is not None
        for source in store.sources()
    }
    found = [
        (line, source, held_out[key])
        for line, source in enumerate(data.train.sources(), 1)
        if (key := hash64(source_key(source))) in held_out
    ]
    if found:
        line, source, where = found[0]
        raise UserError(
            f"{data.path}/train.arrow: {len(found):,} of {len(data.train):,} training sources are validation or test "
            f"text; the first is line {line:,}, {source[:80]!r}, which is in {where}. A student trained on them could "
            "not be judged: run seqdistill prepare on the training text together with that validation and test text, "
            "which leaves such lines out"
        )


@dataclass
class _Tally:
    """Counts over the chosen targets."""

    lines: int = 0
    not_first: int = 0
    equal_to_reference: int = 0
    equal_to_source: int = 0
    characters: int = 0
    reference_characters: float = 0.0


def _same(engine: Engine) -> Engine:
    return engine


def _check_selection(options: DecodingOptions, similarity: Similarity | None, select_among: int) -> None:
    if select_among > options.n_best:
        raise UserError(
            f"select_among {select_among} is more than n_best {options.n_best}: keep more hypotheses (n_best), or "
            "select among fewer"
        )
    if similarity is None and select_among:
        raise UserError(f"select_among {select_among} needs a similarity to select by: set select to bleu or chrf")
    if similarity is not None and (options.n_best == 1 or select_among == 1):
        raise UserError("one hypothesis leaves nothing to select: set n_best to 2 or more, with a beam as wide")
    if similarity is None and options.sampling and options.n_best > 1:
        raise UserError(
            f"{options.n_best} samples a line are sorted by probability, and the first of them is no sample of the "
            "teacher: leave n_best at 1, or select by bleu or chrf"
        )


def _references(sources: Store | DistinctSources) -> Iterator[list[str]]:
    """The targets of every source."""
    return ([target] for target in sources.targets()) if isinstance(sources, Store) else sources.targets()


def _targets(
    decoded: Iterable[DecodedLine],
    references: Iterable[Sequence[str]],
    similarity: Similarity | None,
    among: int,
    tally: _Tally,
) -> Iterator[str]:
    """The new target of every line."""
    for (_, source, hypotheses), given in zip(decoded, references, strict=True):
        choice = most_similar(hypotheses[:among], given, similarity) if similarity else 0
        target = hypotheses[choice].text
        tally.lines += 1
        tally.not_first += choice > 0
        tally.equal_to_reference += target in given
        tally.equal_to_source += target == source
        tally.characters += len(target)
        tally.reference_characters += sum(map(len, given)) / len(given)
        yield target


def _measures(tally: _Tally, train: Store, options: DecodingOptions) -> dict[str, float]:
    """Statistics of the new targets.

    `characters_to_reference`: their characters by those of the references, of several by their mean. `mean_tokens`:
    their mean length in the subwords of the new directory. `share_...`: of all lines, those that equal the reference or
    the source, those where another hypothesis than the teacher's first was chosen, and those as long as decoding
    allowed, so probably cut off (counted in the subwords of the new directory: exact where the teacher has the same).
    """
    # `decoding.limits.length_limit` of every line at once.
    limits = np.minimum(options.max_length, (options.max_ratio * train.source_lengths).astype(int) + SPARE_TOKENS)
    values = {
        "characters_to_reference": tally.characters / tally.reference_characters,
        "mean_tokens": float(train.target_lengths.mean()),
        "share_equal_to_reference": tally.equal_to_reference / tally.lines,
        "share_equal_to_source": tally.equal_to_source / tally.lines,
        "share_not_first": tally.not_first / tally.lines,
        "share_at_length_limit": float((train.target_lengths >= limits).mean()),
    }
    return {name: round(value, 4) for name, value in values.items()}
