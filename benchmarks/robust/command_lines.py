"""Thousands of command lines, drawn by a seed: none ends in a traceback, none hangs, none lies."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.robust import toy
from benchmarks.robust.cases import Case, whole_rows
from benchmarks.robust.corpora import corpora
from benchmarks.robust.models import models
from benchmarks.robust.option_values import option_values
from benchmarks.robust.process import Ended, run
from benchmarks.robust.recipes import recipes
from benchmarks.robust.stores import stores
from benchmarks.robust.streams import streams
from seqdistill.files import write_text

GROUPS: dict[str, Callable[[random.Random, Path], Case]] = {
    "corpora": corpora,
    "options": option_values,
    "recipes": recipes,
    "models": models,
    "stores": stores,
    "streams": streams,
}


def command_lines(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Tries `count` command lines; goes on where it was cut off, and tries once more what was at fault.

    Returns:
        How many there were, in all and by group, and how many ended how; see `judged`.
    """
    rows = tried(count, seed, folder)
    ends = Counter(row["end"] for row in rows)
    groups = Counter(row["group"] for row in rows)
    return {
        "command_lines": len(rows),
        **{name: ends[name] for name in ("refused", "valid", "tracebacks", "hangs", "silent", "refused_wrongly")},
        **{f"command_lines_{name}": groups[name] for name in GROUPS},
    }


def tried(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each trial: its number, group, kind, words, and how it ended."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"command_lines-{seed}.jsonl"
    rows = [row for row in whole_rows(kept) if row["end"] in ("refused", "valid") and row["number"] < count]
    left = sorted(set(range(count)) - {row["number"] for row in rows})
    made = toy.make(folder / "toy")
    write_text(kept, "".join(json.dumps(row) + "\n" for row in rows))
    with kept.open("a") as file:
        for row in _trials(left, seed, made, folder / "trial"):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    return rows


def _trials(numbers: Sequence[int], seed: int, made: Path, folder: Path) -> Iterator[dict[str, Any]]:
    for number in numbers:
        shutil.rmtree(folder, ignore_errors=True)
        toy.copy(made, folder)
        group = list(GROUPS)[number % len(GROUPS)]
        case = GROUPS[group](random.Random(f"{seed} {number}"), folder)
        before = toy.snapshot(folder)
        ended = run(case.words, folder, stdin=case.stdin, stdout=case.stdout)
        end, why = judged(case, ended, folder, before)
        row = {"number": number, "group": group, "kind": case.kind, "end": end, "seconds": round(ended.seconds, 3)}
        if end not in ("refused", "valid"):
            row |= {
                "words": [word[:200] for word in case.words],
                "why": why,
                "code": ended.code,
                "err": ended.err[-2000:],
            }
        yield row
    shutil.rmtree(folder, ignore_errors=True)


def judged(case: Case, ended: Ended, folder: Path, before: dict[str, Any]) -> tuple[str, str]:
    """How a command line ended, and why that is wrong, if it is.

    `valid`, `refused`; `hangs`; `silent`: it succeeded and should not have, or has no outcome; `refused_wrongly`; and
    `tracebacks`: whatever else, a traceback, another exit code, no error message or several, a file changed.
    """
    if ended.code is None:
        return "hangs", "no end"
    if "Traceback" in ended.err or ended.code not in (0, 2):
        return "tracebacks", f"exit code {ended.code}"
    if ended.code == 0:
        if case.wanted == "refused":
            return "silent", "succeeded"
        if missing := _missing(case, ended, folder):
            return "silent", missing
        return "valid", ""
    if ended.err.count("error: ") != 1:
        return "tracebacks", f"{ended.err.count('error: ')} messages"
    if "\x1b" in ended.err:
        return "tracebacks", "a terminal's command was sent"
    after = toy.snapshot(folder)
    if changed := sorted(name for name in before if before[name] != after.get(name)):
        return "tracebacks", f"changed: {', '.join(changed)}"
    return ("refused_wrongly", "refused") if case.wanted == "done" else ("refused", "")


def _missing(case: Case, ended: Ended, folder: Path) -> str:
    """What a command that succeeded should have left, and has not."""
    if "--out" in case.words and "--dry-run" not in case.words and "--help" not in case.words:
        out = folder / case.words[case.words.index("--out") + 1]
        if not (out / "manifest.json").is_file():
            return "no manifest"
    if case.stdout == "file" and case.lines_out is not None and ended.out.count("\n") != case.lines_out:
        return f"{ended.out.count(chr(10))} lines for {case.lines_out}"
    if case.says not in ended.out:
        return f"does not say {case.says!r}"
    return ""
