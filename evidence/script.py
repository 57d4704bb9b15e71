"""A script that measures: its options, how it ends, and what it leaves.

def main() -> None:
    given = arguments(__doc__, rounds=5, threads=1).parse_args()
    ...
    record("bench-name", given, claim="...", figures={...}, rows=[...])

if __name__ == "__main__":
    execute(main)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evidence.results import write_result
from seqdistill.errors import UserError

CAPTIONS = Path("../shared/data/multi30k")
HELP = {
    "rounds": "turns of each system",
    "threads": "cores used",
    "source": "text, plain or gzip",
    "target": "its translation, line by line",
    "work": "folder for what takes long to make again",
    "results": "folder of results",
}


def arguments(text: str | None, **defaults: int | float | str | Path) -> argparse.ArgumentParser:
    """A parser with an option for each default, and --results; `started`, the time now, stands beside the options.

    Args:
        text: what the script measures: its docstring.
        defaults: values by option; `rival_pairs` is the option --rival-pairs, and of the kind of its default.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {**defaults, "results": Path("results")}.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(default), default=default, help=f"{HELP.get(name, '')} ({default})")
    parser.set_defaults(started=time.monotonic())
    return parser


def captions(source: str, target: str) -> dict[str, Path]:
    """Defaults of --source and --target: Multi30k's training text in two of its languages."""
    return {"source": CAPTIONS / f"train.{source}.gz", "target": CAPTIONS / f"train.{target}.gz"}


def record(
    name: str,
    given: argparse.Namespace,
    *,
    claim: str,
    figures: Mapping[str, float],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Writes NAME.json among the results, with figures to the fourth decimal place, and prints them.

    Raises:
        UserError: a figure or cell that no result can hold.
    """
    rounded = {key: round(float(value), 4) for key, value in figures.items()}
    path = write_result(name, claim=claim, figures=rounded, rows=rows, started=given.started, path=given.results)
    for key, value in rounded.items():
        tell(f"{key:40}{value:>16,.3f}")
    tell(f"wrote {path}")


def tell(line: object) -> None:
    """Prints a line at once, also into a file or pipe."""
    print(line, flush=True)


def execute(main: Callable[[], None]) -> None:
    """Runs the script; a user's mistake prints one message and exits with code 2."""
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
