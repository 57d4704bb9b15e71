"""A data directory in the making: what was asked of it, which parts are finished, and its description at the end.

Until `data.json` is written, `.prepare.json` holds this record, so the same call after a kill continues, and gives the
same bytes as one that was never cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqdistill.data.directory import DESCRIPTION, REMEDY, UNFINISHED, Split, directory_fingerprint, splits_of
from seqdistill.data.store import StoreCounts, build_store
from seqdistill.errors import UserError
from seqdistill.files import sweep
from seqdistill.journal import Record
from seqdistill.progress import Progress
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies

AGAIN = ".again.arrow"
"""A temporary second copy of the targets, to check that they are the same."""


def begin(out: Path, record: Record) -> dict[str, Any]:
    """What an earlier run of the same preparation finished, or nothing yet; removes half-written files of a killed run.

    Raises:
        UserError: the directory holds other data (names what differs), or a finished part was altered.
    """
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    (out / AGAIN).unlink(missing_ok=True)
    kept = next((out / name for name in (DESCRIPTION, UNFINISHED) if (out / name).exists()), None)
    if kept is None:
        state = {"record": record.as_json(), "splits": {}}
        write_sealed(out / UNFINISHED, state)
        return state
    if kept.name == DESCRIPTION:
        (out / UNFINISHED).unlink(missing_ok=True)
    state = read_sealed(kept, remedy=REMEDY)
    record.check(state.get("record"), out)
    for name, split in splits_of(state).items():
        split.check(out / f"{name}.arrow")
    return state


def build(text: ParallelCorpus, tokenizers: Vocabularies, path: Path, name: str, progress: Progress) -> StoreCounts:
    """Stores a split, which must have a pair; training pairs without a token on a side are left out.

    Raises:
        UserError: it has none.
    """
    counts = build_store(text, tokenizers, path, drop_empty=name == "train", progress=progress)
    if not counts.pairs:
        path.unlink()
        raise UserError(f"{text.name}: no sentence pair for {name} ({path}); expected at least one: give other text")
    return counts


def note(out: Path, state: dict[str, Any], name: str, counts: StoreCounts, *, num_targets: int) -> None:
    """Notes a finished split; `num_targets`: the most targets of a line."""
    state["splits"][name] = Split.of(out / f"{name}.arrow", num_targets)._asdict() | counts._asdict()
    write_sealed(out / UNFINISHED, state)


def finish(out: Path, state: dict[str, Any], tokenizers: Vocabularies, languages: Languages) -> dict[str, Any]:
    """Describes the whole, after which it is a data directory; returns what is worth recording of it."""
    state["languages"] = languages._asdict()
    state["vocabulary"] = {"source": len(tokenizers.source), "target": len(tokenizers.target)}
    state["fingerprint"] = directory_fingerprint(tokenizers, splits_of(state), languages)
    # In this order: a kill in between leaves both, and `begin` takes the description.
    write_sealed(out / DESCRIPTION, state)
    (out / UNFINISHED).unlink()
    return results(state)


def results(state: Mapping[str, Any]) -> dict[str, Any]:
    """A description without the record of what was asked, and without hashes of files."""
    splits = {
        name: {key: row[key] for key in row if key not in ("sha256", "bytes")} for name, row in state["splits"].items()
    }
    return {**{key: value for key, value in state.items() if key != "record"}, "splits": splits}
