"""Shortlists made: the aligner's lexical table over subword text, of a data directory or of any corpus.

For each source piece its `best` most probable target pieces, and for every sentence the `frequent` most frequent target
pieces and those that spell anything: single characters and bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from seqdistill.data.directory import DataDirectory
from seqdistill.errors import UserError
from seqdistill.exported import is_exported
from seqdistill.files import written_beside
from seqdistill.measures.alignment import align
from seqdistill.measures.bitext import read_bitext
from seqdistill.measures.lexicon import LexicalTable
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.native.directory import open_exported
from seqdistill.native.shortlist import ShortlistTable, target_bytes
from seqdistill.options import AlignerOptions
from seqdistill.progress import Progress
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.threads import usable_cores
from seqdistill.vocabulary.vocabularies import Vocabularies
from seqdistill.vocabulary.vocabulary import Vocabulary

MOST_PAIRS = 1_000_000
"""Pairs of a corpus that are aligned: the first ones."""
MOST_CHARACTERS = 256
"""Single characters in every shortlist: the most frequent ones. Alphabets have fewer, ideographs have more."""
ENCODED_LINES = 10_000
"""Lines of text that are cut into pieces together."""
LEAST = 1e-3
"""Probability of a translation that is worth its place."""

Ids = tuple[Sequence[int], Sequence[int]]
"""Source and target of a pair."""


class Shortlist(NamedTuple):
    """The table of a vocabulary, as `native.shortlist.ShortlistTable` has it."""

    starts: Int[np.ndarray, " sources_and_1"]
    common: Int[np.ndarray, " ids"]
    targets: Int[np.ndarray, " entries"]
    tokenizers: str
    """Fingerprint of the vocabularies whose ids these are."""

    def check(self, tokenizers: Vocabularies) -> None:
        """Raises UserError unless the ids are those of these vocabularies."""
        if self.tokenizers != tokenizers.fingerprint:
            raise UserError(
                "the shortlist is of another vocabulary than the model: give the data directory that the model was "
                "trained on, or one with the same tokenizer"
            )

    def mean_size(self, sources: Sequence[Sequence[int]]) -> float:
        """Ids in the shortlist of a sentence, on average; 0 of no sentence."""
        table = ShortlistTable(self.starts.tolist(), self.common.tolist(), self.targets.tolist())
        return sum(len(table.of(source)) for source in sources) / max(1, len(sources))

    def counts(self) -> dict[str, int]:
        """What a reader needs beside the vocabularies' sizes."""
        return {"common": len(self.common), "entries": len(self.targets)}

    def as_bytes(self, *, sources: int, targets: int) -> bytes:
        """As `shortlist.bin` holds it for a model of so many ids, which may have one more than its tokenizer: MASK."""
        starts = np.pad(self.starts, (0, sources + 1 - len(self.starts)), mode="edge")
        kind = np.dtype(f"u{target_bytes(targets)}")
        parts = starts.astype(np.int32), self.common.astype(np.int32), self.targets.astype(kind)
        return b"".join(part.tobytes() for part in parts)


class Size(NamedTuple):
    """How large a shortlist becomes."""

    best: int
    """Translations of each source piece."""
    frequent: int
    """Most frequent target pieces."""


def shortlist_of(
    path: Path, tokenizers: Vocabularies, size: Size, *, workers: int = 0, progress: Progress
) -> Shortlist:
    """The shortlist of a data directory's training text, or that of an exported model.

    Raises:
        UserError: neither of them; a shortlist of another vocabulary; an exported model that has none.
    """
    if is_exported(path):
        return _exported(path)
    data = DataDirectory.open(path)
    if data.tokenizers.fingerprint != tokenizers.fingerprint:
        raise UserError(
            f"{path}: has another tokenizer than the model, so its shortlist would be of another vocabulary: give the "
            "data directory that the model was trained on, or one with the same tokenizer"
        )
    store = data.train
    ids = ((store.source_ids(pair).tolist(), store.target_ids(pair).tolist()) for pair in range(len(store)))
    return _aligned(ids, tokenizers, size, AlignerOptions(), name=path.name, workers=workers, progress=progress)


def shortlist_of_text(
    text: ParallelCorpus,
    tokenizers: Vocabularies,
    size: Size,
    *,
    aligner: AlignerOptions,
    workers: int = 0,
    progress: Progress,
) -> Shortlist:
    """The shortlist of a corpus that is cut into pieces first, aligned as `aligner` says.

    Raises:
        UserError: text that cannot be read, or without a pair.
    """
    ids = _encoded(text, tokenizers)
    return _aligned(ids, tokenizers, size, aligner, name=text.name, workers=workers, progress=progress)


def _aligned(
    ids: Iterable[Ids],
    tokenizers: Vocabularies,
    size: Size,
    aligner: AlignerOptions,
    *,
    name: str,
    workers: int,
    progress: Progress,
) -> Shortlist:
    # Each piece is written as its id, a word between blanks.
    words = create_tokenizer(name="none")
    lines = ((_line(source), _line(target)) for source, target in islice(ids, MOST_PAIRS))
    bitext = read_bitext(lines, words, words, name=name, progress=progress)
    table = align(bitext, aligner, workers=workers or usable_cores(), progress=progress).table
    return _table(table, tokenizers, size)


def _line(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def _encoded(text: ParallelCorpus, tokenizers: Vocabularies) -> Iterator[Ids]:
    pairs = iter(text)
    while block := list(islice(pairs, ENCODED_LINES)):
        sides = zip(*block, strict=True)
        source, target = (
            vocabulary.encode_batch(side)
            for vocabulary, side in zip((tokenizers.source, tokenizers.target), sides, strict=True)
        )
        yield from zip(source, target, strict=True)


def _table(lexicon: LexicalTable, tokenizers: Vocabularies, size: Size) -> Shortlist:
    """The entries of the lexical table that are worth their place, and what every sentence has."""
    target = tokenizers.target
    counts = np.zeros(len(target), dtype=np.int64)
    target_ids = np.array([int(word) for word in lexicon.target_words])
    counts[target_ids] = lexicon.target_frequencies
    common = _common(target, counts, size.frequent)
    known = np.zeros(len(target), dtype=bool)
    known[[*target.ids.never_written, *common]] = True
    rows: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(tokenizers.source)
    for row, word in enumerate(lexicon.source_words):
        entries = slice(int(lexicon.starts[row]), int(lexicon.starts[row + 1]))
        chances = lexicon.probabilities[entries]
        # Stable, so that of equal translations the first in the table stay: the same table on every machine.
        order = np.argsort(-chances, kind="stable")[: size.best]
        found = target_ids[lexicon.targets[entries][order[chances[order] >= LEAST]]]
        rows[int(word)] = found
    if tokenizers.joint:  # a name is often copied, though no training pair has it
        rows = [np.append(row, token) for token, row in enumerate(rows)]
    rows = [np.unique(row[~known[row]]) for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Shortlist(starts, common, np.concatenate(rows), tokenizers.fingerprint)


def _common(target: Vocabulary, counts: Int[np.ndarray, " vocab"], frequent: int) -> Int[np.ndarray, " ids"]:
    """The ids that every sentence may use: EOS, the most frequent pieces, bytes, and single characters."""
    order = np.argsort(-counts, kind="stable")
    barred = set(target.ids.never_written)
    pieces = {token: target.piece(token) for token in range(len(target)) if token not in barred}
    spelling = [token for token in order.tolist() if len(pieces.get(token, "").lstrip("▁")) <= 1 and token in pieces]
    byte_pieces = [token for token, piece in pieces.items() if len(piece) == 6 and piece.startswith("<0x")]
    chosen = {target.ids.eos, *spelling[:MOST_CHARACTERS], *byte_pieces, *order[:frequent].tolist()} - barred
    return np.array(sorted(chosen), dtype=np.int64)


def _exported(path: Path) -> Shortlist:
    found = open_exported(path)
    if found.shortlist is None:
        raise UserError(f"{path}: has no shortlist; give a data directory, or export that model with one")
    starts, common, targets = (np.array(part, dtype=np.int64) for part in found.shortlist)
    starts = starts[: len(found.tokenizers.source) + 1]  # without MASK, which has no translations
    return Shortlist(starts, common, targets, found.tokenizers.fingerprint)


def write_vmap(shortlist: Shortlist, tokenizers: Vocabularies, path: Path) -> None:
    """Writes CTranslate2's vocabulary map: on each line a source piece, a tab, and its target pieces.

    The line without a source piece holds what every sentence has.
    """
    source, target = tokenizers.source, tokenizers.target

    def line(piece: str, targets: np.ndarray) -> str:
        return f"{piece}\t{' '.join(target.piece(int(token)) for token in targets)}\n"

    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(line("", shortlist.common))
        for token, (start, end) in enumerate(zip(shortlist.starts, shortlist.starts[1:], strict=False)):
            if end > start:
                file.write(line(source.piece(token), shortlist.targets[start:end]))
