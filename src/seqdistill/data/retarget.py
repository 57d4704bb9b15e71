"""Data with new targets, such as what a teacher wrote for the training sources."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seqdistill.data.directory import DataDirectory
from seqdistill.data.store import Store, StoreCounts
from seqdistill.data.targets import DistinctSources
from seqdistill.data.unfinished import AGAIN, begin, build, finish, note, results
from seqdistill.errors import UserError
from seqdistill.files import written_beside
from seqdistill.journal import Record
from seqdistill.progress import Progress, Silent
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.letters import is_visible
from seqdistill.vocabulary.vocabularies import Vocabularies


def retarget(
    data: DataDirectory,
    targets: Iterable[str],
    out: Path,
    *,
    tokenizers: Vocabularies | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a data directory with other training targets, one for each of `data.sources_to_decode`.

    Validation and test stay those of `data`: real text; so do its languages. A source whose new target is empty is
    dropped and counted as `empty`; `same_source` counts the further pairs of sources with several targets. Called again
    after a kill, it gives the same bytes.

    Args:
        targets: one line for each source, in their order.
        tokenizers: encode every split again with these; None: keep those of `data`.

    Returns:
        As `prepare`.

    Raises:
        UserError: more or fewer targets than sources; all are empty; `out` holds other data; a full disk.
    """
    taken, progress = tokenizers or data.tokenizers, progress or Silent()
    sources = data.sources_to_decode
    state = begin(out, Record("new targets", {}, {"data": data.fingerprint, "tokenizer": taken.fingerprint}))
    # Targets that were stored before are stored once more, beside: only so is known that they are the same.
    earlier = state["splits"].get("train")
    beside = out / (AGAIN if earlier else "train.arrow")
    text = ParallelCorpus(f"new targets for {data.path}", lambda: _retargeted(data.train.path, sources, targets))
    counts = build(text, taken, beside, "train", progress)
    if earlier:
        again = Store.open(beside).fingerprint
        beside.unlink()
        if again != earlier["fingerprint"]:
            raise UserError(f"{out}: holds the same data with other targets; give another --out, or delete it")
    if "fingerprint" in state:
        return results(state)
    state["filters"] = {"read": len(data.train), "kept": counts.pairs, "empty": len(sources) - counts.pairs}
    if isinstance(sources, DistinctSources):
        state["filters"]["same_source"] = len(data.train) - len(sources)
    note(out, state, "train", counts, num_targets=1)
    taken.save(out / "tokenizer")
    for name, store in (("valid", data.valid), ("test", data.test)):
        if store is not None:
            counts = _copy(store, taken, out, name, progress)
            note(out, state, name, counts, num_targets=data.num_targets[name])
    return finish(out, state, taken, data.languages)


def _copy(store: Store, tokenizers: Vocabularies, out: Path, name: str, progress: Progress) -> StoreCounts:
    """The same text in another directory, encoded again if the tokenizers are others."""
    path = out / f"{name}.arrow"
    if store.tokenizers_fingerprint == tokenizers.fingerprint:
        with written_beside(path) as copy:
            shutil.copyfile(store.path, copy)
        return store.counts
    pairs = ParallelCorpus(str(store.path), lambda: zip(store.sources(), store.targets(), strict=True))
    return build(pairs, tokenizers, path, name, progress)


def _retargeted(path: Path, sources: Store | DistinctSources, targets: Iterable[str]) -> Iterator[tuple[str, str]]:
    texts = sources.sources() if isinstance(sources, Store) else sources
    # Both come as streams, so only their ends tell whether they are equally long.
    for number, (source, target) in enumerate(zip_longest(texts, targets)):
        if source is None or target is None:
            found = f"only {number:,}" if target is None else "more"
            what = "training pairs" if isinstance(sources, Store) else "different training sources"
            raise UserError(
                f"{path}: its {len(sources):,} {what} need as many new targets, but there are {found}; "
                "decode all of them, an empty line where there is no translation"
            )
        if is_visible(target):
            yield source, target
