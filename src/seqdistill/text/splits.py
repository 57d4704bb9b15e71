"""Holding out validation and test text so that nothing like it is left in training; drawing a part of a corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np

from seqdistill.errors import UserError
from seqdistill.text.corpus import ParallelCorpus, SentencePair, Splits
from seqdistill.text.letters import letters

TRAIN, VALID, TEST, DROPPED = 0, 1, 2, 3

_PLACEHOLDERS = re.compile(r"\{[^{}]*\}|%\([^()]*\)[a-z]|%[a-z]\b|</?[a-zA-Z][^<>]*>")
_LARGEST_GROUP = 50


def source_key(text: str) -> str:
    """Key that near-identical texts share: their letters with their marks, in lower case and NFKC.

    Placeholders such as `{name}` and `%s`, tags, digits, punctuation and white space are folded away; a text without
    any letters outside them is its own key.
    """
    return letters(_PLACEHOLDERS.sub(" ", text.lower())) or text.strip().lower()


def hash64(text: str, seed: int = 0) -> int:
    """8 bytes of BLAKE2b; the same on every machine, another for each seed."""
    digest = blake2b(text.encode(), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def choose_parts(keys: np.ndarray, groups: np.ndarray, *, valid: int, test: int, name: str) -> np.ndarray:
    """Assigns every pair to TRAIN, VALID or TEST, or to DROPPED: a near-copy of something held out.

    Groups are taken whole, in the order of their hashes, first for the test set and then for validation, until each has
    exactly its number of pairs; groups of more than 50 stay in training. A held-out set holds a key once.

    Args:
        keys: uint64 hash of each pair's source key.
        groups: uint64 hash of what must stay together; pass `keys` when nothing more must.
        valid, test: numbers of pairs to hold out.
        name: of the corpus, for the error.

    Raises:
        UserError: the corpus has too few different sources.
    """
    wanted = valid + test
    # Hashes are as good as random, so their order is a random one that depends on texts and seed alone: adding pairs to
    # a corpus leaves most of what is held out where it was. Groups that were looked at are out of training as a whole,
    # also the pairs that found no place; so is everything whose key is held out.
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(order) else order
    held: list[int] = []
    seen: set[int] = set()
    touched: list[np.ndarray] = []
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        if len(held) == wanted:
            break
        group = order[start:end]
        if len(np.unique(keys[group])) > _LARGEST_GROUP:
            continue
        touched.append(group)
        for row in group:
            if len(held) < wanted and int(keys[row]) not in seen:
                seen.add(int(keys[row]))
                held.append(int(row))
    if len(held) < wanted:
        raise UserError(
            f"{name}: {wanted:,} pairs were to be held out for validation and test, but only {len(held):,} pairs have "
            "sources that differ enough; hold out fewer, or give validation and test text of your own"
        )
    parts = np.where(np.isin(keys, np.fromiter(seen, dtype=np.uint64)), DROPPED, TRAIN).astype(np.int8)
    for group in touched:
        parts[group] = DROPPED
    parts[held[:test]] = TEST
    parts[held[test:]] = VALID
    return parts


def hold_out(
    corpus: ParallelCorpus, *, valid: int, test: int, seed: int = 1, groups: Iterable[str] | None = None
) -> Splits:
    """Splits a corpus; the training part streams and is never held in memory (16 bytes a pair are).

    Pairs whose sources have the same `source_key`, and pairs of the same group, never lie on both sides of a split:
    pairs too similar to a held-out pair are dropped from training. The same corpus and seed give the same split.
    Where sources have several targets, a held-out source takes all of them with it.

    Args:
        corpus: read once now, and once in each pass over the training part.
        valid, test: numbers of pairs, or of sources if they have several targets; a part of 0 pairs is None.
        seed: of the order in which pairs are chosen.
        groups: one label a pair, for what else must stay together.

    Raises:
        UserError: the corpus has too few different sources.
    """
    keys = np.fromiter((hash64(source_key(pair.source), seed) for pair in corpus), dtype=np.uint64)
    labels = keys if groups is None else np.fromiter((hash64(group, seed) for group in groups), dtype=np.uint64)
    assert len(labels) == len(keys)
    parts = choose_parts(keys, labels, valid=valid, test=test, name=corpus.name)
    if corpus.num_targets > 1:
        sources = _hashes(corpus)
        for part in (VALID, TEST):
            parts[np.isin(sources, sources[parts == part])] = part

    def train() -> Iterator[SentencePair]:
        return (pair for pair, part in zip(corpus, parts, strict=True) if part == TRAIN)

    def held(part: int, suffix: str) -> ParallelCorpus | None:
        pairs = [pair for pair, own in zip(corpus, parts, strict=True) if own == part]
        name = f"{corpus.name}:{suffix}"
        return ParallelCorpus(name, lambda: pairs, num_targets=corpus.num_targets) if pairs else None

    rest = ParallelCorpus(f"{corpus.name}:train", train, files=corpus.files, num_targets=corpus.num_targets)
    return Splits(rest, held(VALID, "valid"), held(TEST, "test"))


def connected(rows: Sequence[Sequence[str]]) -> list[int]:
    """Group number of each row, so that rows that share any key, also over other rows, share the number.

    Rows 0 and 1 share b, rows 1 and 3 share c:

        >>> connected([["a", "b"], ["b", "c"], ["x"], ["c"]])
        [0, 0, 2, 0]
    """
    # Union-find: `parent` leads from each row towards its group's lowest row, which is its own parent. Paths are halved
    # as they are walked.
    parent = list(range(len(rows)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[str, int] = {}
    for row, keys in enumerate(rows):
        for key in keys:
            other = root(first.setdefault(key, row))
            mine = root(row)
            parent[max(mine, other)] = min(mine, other)
    return [root(row) for row in range(len(rows))]


def drawn(corpus: ParallelCorpus, size: int, *, seed: int) -> tuple[ParallelCorpus, int]:
    """`size` pairs drawn at random, in their order, and how many were not drawn; reads the corpus once to count it.

    Raises:
        UserError: the corpus has fewer pairs.
    """
    pairs = sum(1 for _ in corpus)
    if size > pairs:
        raise UserError(
            f"{corpus.name}: {size:,} training pairs were to be drawn, but only {pairs:,} are left after the filters; "
            "draw fewer, or leave --train-size out"
        )
    chosen = np.zeros(pairs, dtype=bool)
    chosen[np.random.default_rng(seed).choice(pairs, size=size, replace=False)] = True
    return _chosen(corpus, chosen, num_targets=corpus.num_targets), pairs - size


def one_target_each(corpus: ParallelCorpus, *, seed: int) -> tuple[ParallelCorpus, int]:
    """One pair of each different source, drawn from all of its pairs alike, and how many were not drawn.

    Pairs keep their order; reads the corpus once to see its sources, of which it keeps 8 bytes a pair.
    """
    sources = _hashes(corpus)
    order = np.random.default_rng(seed).permutation(len(sources))
    _, first = np.unique(sources[order], return_index=True)
    chosen = np.zeros(len(sources), dtype=bool)
    chosen[order[first]] = True
    return _chosen(corpus, chosen, num_targets=1), len(sources) - len(first)


def _hashes(corpus: ParallelCorpus) -> np.ndarray:
    """Of every pair's source, as it stands."""
    return np.fromiter(map(hash64, corpus.sources()), dtype=np.uint64)


def _chosen(corpus: ParallelCorpus, chosen: np.ndarray, *, num_targets: int) -> ParallelCorpus:
    def read() -> Iterator[SentencePair]:
        return (pair for pair, kept in zip(corpus, chosen, strict=True) if kept)

    return ParallelCorpus(corpus.name, read, num_targets=num_targets)
