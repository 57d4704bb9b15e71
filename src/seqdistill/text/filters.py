"""Which training pairs to keep, one reason a dropped pair, every reason counted; streams millions of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from seqdistill.text.corpus import SentencePair
from seqdistill.text.letters import is_visible, num_words
from seqdistill.text.splits import hash64, source_key

REASONS = ("empty", "too_long", "ratio", "copy", "test_overlap", "duplicate")
"""Why a pair is dropped, in the order in which it is asked."""

_CHUNK = 65_536


@dataclass(frozen=True)
class Filters:
    """Conditions on training pairs. Validation and test text is never filtered."""

    max_length: int = 250
    """Most words (split at white space) on either side."""
    max_ratio: float = 9.0
    """Largest factor between the numbers of characters of the two sides; a side counts as 5 characters at least."""
    keep_duplicates: bool = False
    """Keep pairs that occurred before, both sides alike."""
    keep_copies: bool = False
    """Keep pairs whose target is the source."""

    def reason(self, source: str, target: str) -> str | None:
        """Why to drop a pair, looking at this pair alone; None to keep it."""
        if not (is_visible(source) and is_visible(target)):
            return "empty"
        if max(num_words(source), num_words(target)) > self.max_length:
            return "too_long"
        longer, shorter = max(len(source), len(target)), max(5, min(len(source), len(target)))
        if longer > self.max_ratio * shorter:
            return "ratio"
        if source == target and not self.keep_copies:
            return "copy"
        return None


class FilteredPairs:
    """A stream of the pairs that pass; `counts` is complete when a pass is."""

    def __init__(
        self, pairs: Iterable[SentencePair], filters: Filters, *, held_out_sources: Iterable[str] = ()
    ) -> None:
        """`held_out_sources`: sources of validation and test; a pair whose source has the `source_key` of one of them
        is dropped."""
        self._pairs = pairs
        self._filters = filters
        self._held_out = frozenset(hash64(source_key(source)) for source in held_out_sources)
        self.counts: dict[str, int] = {}

    def __iter__(self) -> Iterator[SentencePair]:
        """Begins a pass, all counts at 0: `read`, `kept`, and one number for each of `REASONS`."""
        counts: Counter[str] = Counter()
        seen = SeenHashes()
        pairs = iter(self._pairs)
        while chunk := list(islice(pairs, _CHUNK)):
            passed = list(self._passing(chunk, counts))
            if not self._filters.keep_duplicates:
                hashes = np.fromiter((hash64(f"{pair.source}\n{pair.target}") for pair in passed), dtype=np.uint64)
                new = seen.add(hashes)
                counts["duplicate"] += len(passed) - int(new.sum())
                passed = [pair for pair, fresh in zip(passed, new, strict=True) if fresh]
            counts["read"] += len(chunk)
            counts["kept"] += len(passed)
            self.counts = {key: counts[key] for key in ("read", "kept", *REASONS)}
            yield from passed

    def _passing(self, chunk: Iterable[SentencePair], counts: Counter[str]) -> Iterator[SentencePair]:
        """The pairs of a chunk that pass every filter but that for duplicates."""
        for pair in chunk:
            source, target = pair.source.strip(), pair.target.strip()
            reason = self._filters.reason(source, target)
            if reason is None and self._held_out and hash64(source_key(source)) in self._held_out:
                reason = "test_overlap"
            if reason is None:
                yield SentencePair(source, target)
            else:
                counts[reason] += 1


class SeenHashes:
    """A growing set of 8-byte hashes in sorted arrays: 8 bytes each, where Python's set takes 60 or more.

    Arrays of like size are merged, so there are only about log2(n) of them. Of 4.5 million different pairs, two share a
    hash by chance with probability 5e-7.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Adds uint64 hashes; True where one was not there before, neither earlier nor in this call."""
        unique, first = np.unique(hashes, return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            fresh &= run[places] != unique
        new = np.zeros(len(hashes), dtype=bool)
        new[first[fresh]] = True
        run = unique[fresh]
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
        return new
