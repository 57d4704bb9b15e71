"""Tables of README and docs, written from results/*.json between markers, and the plots beside them.

    <!-- results:table-2 -->
    ... written here, never by hand ...
    <!-- /results -->

`python -m evidence.tables` writes them; with `--check` it only says which files differ, and exits with 1.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evidence.figures import figures_of
from evidence.results import Result, read_results
from seqdistill.errors import UserError
from seqdistill.files import write_text
from seqdistill.reports.columns import (
    Row,
    best_rows,
    column,
    columns_of,
    folded,
    intervals,
    is_numeric,
    signatures_of,
    written,
)

RESULTS, DOCS, FIGURES = Path("results"), Path("docs"), Path("docs/figures")
BEGIN, END = re.compile(r"^<!-- results:(\S+) -->$"), "<!-- /results -->"


def markdown(name: str, result: Result, *, results: str) -> str:
    """A result as Markdown: its claim, a table of its rows, its figures, and how it came about.

    Args:
        results: the folder of results, as the document reaches it.
    """
    parts = [f"*{result.claim}*"]
    if result.rows:
        parts.append(_table(result.rows))
    if figures := _figures(result.figures, result.rows):
        parts.append(figures)
    signatures = signatures_of(result.rows)
    if signatures:
        parts.append("\n".join(f"- `{signature}`" for signature in signatures))
    parts.append(_provenance(name, result, results))
    return "\n\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    """NAME_low and NAME_high stand as an interval in NAME's cells."""
    names = folded(columns_of(rows))
    columns = [[row.get(name) for row in rows] for name in names]
    texts = []
    for name, values in zip(names, columns, strict=True):
        best = best_rows(name, values)
        cells = written(name, values)
        texts.append(
            [
                (f"**{cell}**" if i in best else _escaped(cell)) + interval
                for i, (cell, interval) in enumerate(zip(cells, intervals(name, rows, values), strict=True))
            ]
        )
    rule = ["---:" if is_numeric(values) else "---" for values in columns]
    lines = [[_escaped(column(name).title) for name in names], rule, *zip(*texts, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _figures(figures: Mapping[str, float], rows: Sequence[Row]) -> str:
    """Those that the table does not show already; NAME_METRIC with its interval, where there are NAME_low and _high."""
    shown = {round(value, 4) for row in rows for value in row.values() if isinstance(value, int | float)}
    told = []
    for name, value in figures.items():
        ends = [f"{name.rpartition('_')[0]}_{end}" for end in ("low", "high")]
        has_interval = all(end in figures for end in ends)
        if round(value, 4) in shown or (has_interval and name in ends):
            continue
        cell, *interval = written(name, [value, *(figures[end] for end in ends if has_interval)])
        told.append(f"{column(name).title} **{cell}**" + (f" [{', '.join(interval)}]" if interval else ""))
    return " · ".join(told)


def _provenance(name: str, result: Result, results: str) -> str:
    machine = result.machine
    where = f"{machine.accelerator}, " if machine.accelerator else ""
    where += f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:.0f} GB; torch {machine.torch}"
    dirty = "-dirty" if result.commit.endswith("-dirty") else ""
    commit = result.commit.removesuffix("-dirty")[:10] + dirty
    return (
        f"<sub>[{name}.json]({results}/{name}.json) · `{result.command}` · commit {commit} · {where} · "
        f"{_duration(result.wall_seconds)}</sub>"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def rewritten(text: str, results: Mapping[str, Result], *, document: Path) -> str:
    """A document with everything between its markers written anew.

    Args:
        document: its path from the repository's root, for messages and links.

    Raises:
        UserError: a marker that names no result, or is not closed, with the line.
    """
    folder = "../" * (len(document.parts) - 1) + str(RESULTS)
    lines, kept, opened = text.split("\n"), [], ""
    for number, line in enumerate(lines, 1):
        begin = BEGIN.match(line.strip())
        if begin:
            if opened:
                raise UserError(f"{document}, line {number}: {line!r} inside of {opened}; close that with {END}")
            name, opened = begin[1], f"line {number}"
            kept += [line, _for_marker(name, results, f"{document}, line {number}", folder)]
        elif line.strip() == END:
            if not opened:
                raise UserError(f"{document}, line {number}: {END} without a <!-- results:NAME --> before it")
            opened = ""
        if not opened and not begin:
            kept.append(line)
    if opened:
        raise UserError(f"{document}, {opened}: the marker is not closed; put {END} on a line below")
    return "\n".join(kept)


def _for_marker(name: str, results: Mapping[str, Result], place: str, folder: str) -> str:
    if name not in results:
        close = difflib.get_close_matches(name, results, n=1)
        nearest = f", did you mean {close[0]!r}?" if close else ""
        raise UserError(f"{place}: no result {name!r} in {RESULTS}{nearest}; it has {', '.join(results) or 'none yet'}")
    return f"\n{markdown(name, results[name], results=folder)}\n"


def contents(root: Path) -> dict[Path, str]:
    """What README.md, every document in docs and every figure should hold, by path.

    Raises:
        UserError: results that are none, or a marker that is wrong.
    """
    results = read_results(root / RESULTS)
    documents = [path for path in [root / "README.md", *sorted((root / DOCS).rglob("*.md"))] if path.is_file()]
    wanted = {
        path: rewritten(path.read_text(encoding="utf-8"), results, document=path.relative_to(root))
        for path in documents
    }
    for name, result in results.items():
        for suffix, svg in figures_of(result.rows).items():
            wanted[root / FIGURES / f"{name}-{suffix}.svg"] = svg
    return wanted


def stale(root: Path) -> list[Path]:
    """Files that do not hold what the results say, and figures of results that are gone."""
    return _differing(root, contents(root))


def refresh(root: Path) -> list[Path]:
    """Writes every stale file, removes figures of results that are gone, and returns what changed."""
    wanted = contents(root)
    changed = _differing(root, wanted)
    for path in changed:
        if path in wanted:
            write_text(path, wanted[path])
        else:
            path.unlink()
    return changed


def _differing(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    differ = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return differ + [path for path in sorted((root / FIGURES).glob("*.svg")) if path not in wanted]


def main(arguments: Sequence[str]) -> int:
    """The command line of this module, run from the repository's root; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m evidence.tables",
        description="Write the tables of README.md and docs, and docs/figures, from results/*.json.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    try:
        paths = stale(root) if options.check else refresh(root)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for path in paths:
        sys.stdout.write(f"{'differs' if options.check else 'wrote'}: {path.relative_to(root)}\n")
    if options.check and paths:
        sys.stderr.write("these do not hold what results/*.json say: run `make results`\n")
    return int(options.check and bool(paths))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
