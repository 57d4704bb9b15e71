"""Home Assistant's interface in 60 languages: human translations, from one pinned version's wheel, never installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from seqdistill.errors import UserError
from seqdistill.files import sha256_file
from seqdistill.progress import Progress
from seqdistill.text.corpus import ParallelCorpus, Splits
from seqdistill.text.letters import has_letter
from seqdistill.text.splits import TEST, TRAIN, VALID, choose_parts, hash64, source_key

VERSION = "2026.2.3"
WHEEL = f"homeassistant-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "8167820cac4b8defe895fd2c36ac23402a445d1fe6028e8cde24caabb935282c"
HELD_OUT = 1000
"""Pairs in the validation set, and in the test set."""

_FILE = re.compile(r"homeassistant/components/([^/]+)/translations/([^/]+)\.json")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def translations(languages: Sequence[str], cache: Path, progress: Progress, held_out: int = HELD_OUT) -> Splits:
    """Interface texts of a language pair, or of one language and several targets, in train, validation and test.

    Raises:
        UserError: the wheel cannot be had or was altered, or lacks a language.
    """
    name = f"home-assistant:{languages[0]}-{'+'.join(languages[1:])}"
    parts = aligned_translations(languages, cache, progress, held_out)
    return Splits(
        *(
            ParallelCorpus.from_rows(f"{name}:{part}", rows, num_targets=len(languages) - 1)
            for part, rows in parts.items()
        )
    )


def aligned_translations(
    languages: Sequence[str], cache: Path, progress: Progress, held_out: int = HELD_OUT
) -> dict[str, list[tuple[str, ...]]]:
    """Interface texts that exist in all the languages: rows of "train", "valid" and "test", one text a language.

    Texts are matched by their key within a component. Left out are rows where a text has no letter outside of
    placeholders such as {name}, where a translation repeats the first language's text, and repeated rows. Line breaks
    and runs of spaces become one space. Rows whose English is alike but for placeholders, digits, punctuation and case
    never lie on both sides of a split.

    Raises:
        UserError: as `translations`.
    """
    rows = _matched(fetch_wheel(cache, progress), tuple(languages))
    english = np.fromiter((hash64(source_key(key), 1) for key in rows.values()), dtype=np.uint64)
    first = np.fromiter((hash64(source_key(row[0]), 1) for row in rows), dtype=np.uint64)
    parts = choose_parts(first, english, valid=held_out, test=held_out, name=f"home-assistant {'-'.join(languages)}")
    named = {"train": TRAIN, "valid": VALID, "test": TEST}
    return {name: [row for row, own in zip(rows, parts, strict=True) if own == part] for name, part in named.items()}


def fetch_wheel(cache: Path, progress: Progress) -> Path:
    """The wheel in the cache; downloads it with pip where it is not there yet (51 MB).

    Raises:
        UserError: pip is missing, the network fails, or the file is not the very one expected.
    """
    path = cache / "home-assistant" / WHEEL
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        progress.start(f"downloading Home Assistant {VERSION}'s translations (51 MB)", total=None, unit="file")
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download") as folder:
                _pip_download(Path(folder), path)
                _verify(Path(folder) / WHEEL)
                (Path(folder) / WHEEL).replace(path)
        finally:
            progress.finish()
        return path
    _verify(path)
    return path


def _pip_download(folder: Path, path: Path) -> None:
    """Runs pip of this very interpreter; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.14", "--dest", str(folder), f"homeassistant=={VERSION}"]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if result.returncode or not (folder / WHEEL).exists():
        said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()[-1]
        raise UserError(
            f"home-assistant: pip could not download {WHEEL}; it said: {said}. Check the network and that this Python "
            f"has pip, or download that wheel elsewhere and put it at {path}"
        )


def _verify(wheel: Path) -> None:
    """The pinned bytes, or nothing."""
    found = sha256_file(wheel)
    if found != WHEEL_SHA256:
        raise UserError(
            f"{wheel}: expected a file with sha256 {WHEEL_SHA256}, found {found}: it was cut, altered or replaced; "
            "remove it and run the command again"
        )


def _matched(wheel: Path, languages: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Unique rows of texts, in the order of components and keys, each with its English."""
    rows: dict[tuple[str, ...], str] = {}
    with zipfile.ZipFile(wheel) as archive:
        files = [match for name in archive.namelist() if (match := _FILE.fullmatch(name))]
        there = {match[2] for match in files}
        for language in languages:
            if language not in there:
                raise UserError(f"home-assistant: no language {language!r}; there: {', '.join(sorted(there))}")
        names = {match[0] for match in files}
        for component in sorted({match[1] for match in files}):
            paths = [f"homeassistant/components/{component}/translations/{each}.json" for each in ("en", *languages)]
            if not names.issuperset(paths):
                continue
            english, *others = (dict(_flat(json.loads(archive.read(path)))) for path in paths)
            for key, text in english.items():
                row = tuple(" ".join(other.get(key, "").split()) for other in others)
                if all(map(_has_words, row)) and row[0] not in row[1:]:
                    rows.setdefault(row, text)
    return rows


def _flat(nested: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON objects as dotted keys and texts."""
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield f"{prefix}{key}", value


def _has_words(text: str) -> bool:
    """Whether anything is left to translate beside placeholders, digits and signs."""
    return has_letter(_PLACEHOLDER.sub("", text))
