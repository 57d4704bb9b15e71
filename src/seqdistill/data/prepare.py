"""From text to a data directory: filter, hold out, train the tokenizer, store every split; and give it new targets.

Until `data.json` is written, `.prepare.json` records what was asked and which parts are finished, so the same call
after a kill continues, and gives the same bytes as one that was never cut off.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from seqdistill.data.directory import DESCRIPTION, UNFINISHED, DataDirectory, directory_fingerprint
from seqdistill.data.store import Store, StoreCounts, build_store
from seqdistill.errors import UserError
from seqdistill.files import differences, read_json, write_json, written_beside
from seqdistill.progress import Progress, Silent
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.filters import FilteredPairs, Filters
from seqdistill.text.splits import drawn, hold_out
from seqdistill.text.tokenizer import Kind, Tokenizers, train_tokenizers

_CHUNK = 16_384
_AGAIN = ".again.arrow"
"""Where targets are stored once more, only to see whether they are the same."""


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
    train_size: int = 0,
    vocab_size: int = 8000,
    kind: Kind = "bpe",
    joint: bool = True,
    lowercase: bool = False,
    tokenizer_from: Path | None = None,
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a data directory of `out`, or finishes one that was cut off; streams, so memory hardly grows with the text.

    Training pairs pass the filters, and no source of validation or test text, nor a near-copy, stays among them.
    Validation and test text is taken as it is.

    Args:
        out: an empty or new directory, or one where this same preparation began; the caller holds its lock.
        cut_source: of every source so many words are kept, before the filters; 0: all of them.
        cut_target: of every training target so many words are kept; those of validation and test stay whole.
        valid_size: where there is no validation text, so many of the training pairs that pass the filters are held out.
        train_size: so many of the training pairs that are left are drawn at random; 0: all of them.
        tokenizer_from: a data directory whose tokenizer is taken; without it, one is trained on the training text,
            as vocab_size, kind, joint and lowercase say.
        seed: of what is held out and what is drawn.

    Returns:
        What is worth recording: counts of each split, training pairs by filter, vocabulary sizes.

    Raises:
        UserError: `valid_size` beside validation text; no pair is left after the filters (says which dropped how many),
            or fewer than `train_size`; `out` holds another preparation; faulty text; a full disk.
    """
    progress, filters = progress or Silent(), filters or Filters()
    if valid is not None and valid_size:
        raise UserError(
            f"{valid_size} training pairs were to be held out for validation, but there is validation text "
            f"({valid.name}); leave out one of them"
        )
    train = train.cut(cut_source, cut_target)
    valid, test = (None if text is None else text.cut(cut_source, 0) for text in (valid, test))
    tokenizers = Tokenizers.load(tokenizer_from / "tokenizer") if tokenizer_from else None
    trained = {"vocab_size": vocab_size, "kind": kind, "joint": joint, "lowercase": lowercase}
    request = {
        "text": {name: _digest(text) for name, text in _present(train, valid, test)},
        "filters": asdict(filters),
        "held_out": {"pairs": valid_size, "seed": seed} if valid_size else None,
        **({"drawn": {"pairs": train_size, "seed": seed}} if train_size else {}),
        "tokenizer": trained if tokenizers is None else {"fingerprint": tokenizers.fingerprint},
    }
    state = _begin(out, request)
    if "fingerprint" in state:
        return _results(state)
    clean, valid, filtered = _training_text(train, valid, test, filters, valid_size, seed)
    not_drawn = 0
    if train_size:
        clean, not_drawn = drawn(clean, train_size, seed=seed)
    if tokenizers is None:
        tokenizers = _tokenizers(out, clean, progress, vocab_size, kind, joint, lowercase)
    tokenizers.save(out / "tokenizer")
    for name, text in _present(clean, valid, test):
        if name in state["splits"]:
            continue
        counts = _build(text, tokenizers, out / f"{name}.arrow", name, progress)
        if name == "train":
            near = filtered.counts["kept"] - counts.pairs - valid_size - not_drawn
            state["filters"] = filtered.counts | {"held_out": valid_size, "near_held_out": near}
            state["filters"] |= {"not_drawn": not_drawn} if train_size else {}
        _record(out, state, name)
    return _finish(out, state, tokenizers)


def retarget(
    data: DataDirectory,
    targets: Iterable[str],
    out: Path,
    *,
    tokenizers: Tokenizers | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes a data directory with other training targets, such as what a teacher wrote for the training sources.

    Validation and test stay those of `data`: real text. A pair whose new target is empty is dropped and counted as
    `empty`. Called again after a kill, it gives the same bytes.

    Args:
        targets: one line for each training pair of `data`, in their order.
        tokenizers: encode every split anew with these; None: keep those of `data`.

    Returns:
        As `prepare`.

    Raises:
        UserError: more or fewer targets than training pairs; all are empty; `out` holds other data; a full disk.
    """
    taken, progress = tokenizers or data.tokenizers, progress or Silent()
    state = _begin(out, {"retargeted": data.fingerprint, "tokenizer": {"taken": taken.fingerprint}})
    earlier = state["splits"].get("train")
    beside = out / (_AGAIN if earlier else "train.arrow")
    counts = _build(
        ParallelCorpus(f"new targets for {data.path}", lambda: _retargeted(data.train, targets)),
        taken,
        beside,
        "train",
        progress,
    )
    if earlier:
        again = Store.open(beside).fingerprint
        beside.unlink()
        if again != earlier["fingerprint"]:
            raise UserError(f"{out}: holds the same data with other targets; give another --out, or delete it")
    if "fingerprint" in state:
        return _results(state)
    state["filters"] = {"read": len(data.train), "kept": counts.pairs, "empty": len(data.train) - counts.pairs}
    _record(out, state, "train")
    taken.save(out / "tokenizer")
    for name, store in (("valid", data.valid), ("test", data.test)):
        if store is not None:
            _copy(store, taken, out, name, progress)
            _record(out, state, name)
    return _finish(out, state, taken)


def _copy(store: Store, tokenizers: Tokenizers, out: Path, name: str, progress: Progress) -> None:
    """The same text in another directory, encoded anew if the tokenizers are others."""
    path = out / f"{name}.arrow"
    if store.tokenizers_fingerprint == tokenizers.fingerprint:
        with written_beside(path) as copy:
            shutil.copyfile(store.path, copy)
    else:
        pairs = ParallelCorpus(str(store.path), lambda: zip(store.sources(), store.targets(), strict=True))
        _build(pairs, tokenizers, path, name, progress)


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


def _begin(out: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run of this request recorded, or a fresh record; removes what a killed run left half written."""
    out.mkdir(parents=True, exist_ok=True)
    for part in [*out.glob(".*.part"), *(out / "tokenizer").glob(".*.part"), *out.glob(_AGAIN)]:
        part.unlink()
    recorded = next((out / name for name in (DESCRIPTION, UNFINISHED) if (out / name).exists()), None)
    if recorded is None:
        state = {"request": request, "splits": {}}
        write_json(out / UNFINISHED, state)
        return state
    if recorded.name == DESCRIPTION:
        (out / UNFINISHED).unlink(missing_ok=True)
    state = read_json(recorded)
    if changed := differences(state["request"], request):
        listed = "\n  ".join(changed)
        raise UserError(
            f"{out}: holds data that were prepared otherwise:\n  {listed}\ngive another --out, ask for the same again, "
            "or delete the directory"
        )
    return state


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
    clean = ParallelCorpus(train.name, lambda: _some(filtered, filtered, train.name))
    if valid_size:
        rest, valid, _ = hold_out(clean, valid=valid_size, test=0, seed=seed)
        clean = ParallelCorpus(train.name, lambda: _some(rest, filtered, train.name))
    return clean, valid, filtered


def _some(pairs: Iterable[SentencePair], filtered: FilteredPairs, name: str) -> Iterator[SentencePair]:
    """The same pairs, of which there must be one."""
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


def _tokenizers(
    out: Path, clean: ParallelCorpus, progress: Progress, vocab_size: int, kind: Kind, joint: bool, lowercase: bool
) -> Tokenizers:
    """Those an earlier run finished, or trained ones."""
    if (out / "tokenizer" / "tokenizer.json").exists():
        return Tokenizers.load(out / "tokenizer")
    progress.start("training the tokenizer", total=None, unit="pairs")
    watched = ParallelCorpus(clean.name, lambda: _watched(clean, progress))
    tokenizers = train_tokenizers(watched, vocab_size=vocab_size, kind=kind, joint=joint, lowercase=lowercase)
    progress.finish()
    return tokenizers


def _watched(pairs: Iterable[SentencePair], progress: Progress) -> Iterator[SentencePair]:
    stream = iter(pairs)
    while chunk := list(islice(stream, _CHUNK)):
        progress.advance(len(chunk))
        yield from chunk


def _build(text: ParallelCorpus, tokenizers: Tokenizers, path: Path, name: str, progress: Progress) -> StoreCounts:
    counts = build_store(text, tokenizers, path, progress=progress)
    if not counts.pairs:
        path.unlink()
        raise UserError(f"{text.name}: no sentence pair for {name} ({path}); expected at least one: give other text")
    return counts


def _retargeted(train: Store, targets: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, (source, target) in enumerate(zip_longest(train.sources(), targets)):
        if source is None or target is None:
            found = f"only {number:,}" if target is None else "more"
            raise UserError(
                f"{train.path}: its {len(train):,} training pairs need as many new targets, but there are {found}; "
                "decode all of them, an empty line where there is no translation"
            )
        if target.strip():
            yield source, target


def _record(out: Path, state: dict[str, Any], name: str) -> None:
    """Notes a finished split."""
    store = Store.open(out / f"{name}.arrow")
    state["splits"][name] = {"fingerprint": store.fingerprint} | store.counts._asdict()
    write_json(out / UNFINISHED, state)


def _finish(out: Path, state: dict[str, Any], tokenizers: Tokenizers) -> dict[str, Any]:
    splits = {name: row["fingerprint"] for name, row in state["splits"].items()}
    state["vocabulary"] = {"source": len(tokenizers.source), "target": len(tokenizers.target)}
    state["fingerprint"] = directory_fingerprint(tokenizers, splits)
    write_json(out / DESCRIPTION, state)
    (out / UNFINISHED).unlink()
    return _results(state)


def _results(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "request"}
