"""Debian's package descriptions: translated by people, and long description to synopsis, through apt's own files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from seqdistill.errors import UserError
from seqdistill.files import write_text
from seqdistill.progress import Progress
from seqdistill.seals import check_listing, listing, read_sealed, write_sealed
from seqdistill.text.corpus import ParallelCorpus, SentencePair, Splits
from seqdistill.text.lines import read_lines
from seqdistill.text.splits import connected, hold_out, source_key

LANGUAGES = ("de", "fr", "it")
"""Those with tens of thousands of pairs; the archive has some for many more languages."""
HELD_OUT = 1000
FETCHED = "fetched.json"
"""Written last: hashes of what was fetched; files that a user put there have none."""

_BULLET = re.compile(r"(?:[*\-+•·–—]|\d+[.)])\s+")
_LONG_BLOCK = 40
"""Letters from which a paragraph that two packages share makes them near-identical."""


class Description(NamedTuple):
    """A package's description in one language."""

    package: str
    synopsis: str
    blocks: list[str]
    """Paragraphs and list items of the long description, unwrapped, without bullets."""


def translations(language: str, cache: Path, progress: Progress, held_out: int = HELD_OUT) -> Splits:
    """English synopses, paragraphs and list items with their translations, in train, validation and test.

    A translated description belongs to an English one of the same package and checksum (Description-md5). Those that
    have other numbers of paragraphs in the two languages give their synopsis only. Descriptions that share a paragraph
    stay together in the splits.

    Raises:
        UserError: apt is missing or fails, or the archive has no translations into this language.
    """
    folder = fetch_descriptions(("en", language), cache, progress)
    english, other = read_descriptions(folder / "en.txt"), read_descriptions(folder / f"{language}.txt")
    shared = [key for key in sorted(english) if key in other]
    packages = _families([english[key] for key in shared])
    rows: dict[SentencePair, int] = {}
    for key, family in zip(shared, packages, strict=True):
        for source, target in _paired(english[key], other[key]):
            if source != target:
                rows.setdefault(SentencePair(source, target), family)
    corpus = ParallelCorpus.from_pairs(f"debian-descriptions:en-{language}", rows)
    return hold_out(corpus, valid=held_out, test=held_out, groups=map(str, rows.values()))


def summaries(cache: Path, progress: Progress, held_out: int = HELD_OUT) -> Splits:
    """Long descriptions with their one-line synopses; packages that share a paragraph stay together in the splits.

    Raises:
        UserError: apt is missing or fails.
    """
    english = read_descriptions(fetch_descriptions(("en",), cache, progress) / "en.txt")
    found = [english[key] for key in sorted(english) if english[key].blocks]
    rows: dict[SentencePair, int] = {}
    for description, family in zip(found, _families(found), strict=True):
        rows.setdefault(SentencePair(" ".join(description.blocks), description.synopsis), family)
    corpus = ParallelCorpus.from_pairs("debian-descriptions:summary", rows)
    return hold_out(corpus, valid=held_out, test=held_out, groups=map(str, rows.values()))


def _families(descriptions: Iterable[Description]) -> list[int]:
    """A number for each description, the same for those that share a long paragraph with each other or with a third."""
    keys = ([source_key(block) for block in each.blocks] for each in descriptions)
    return connected([[key for key in own if len(key) >= _LONG_BLOCK] for own in keys])


def _paired(english: Description, other: Description) -> Iterator[tuple[str, str]]:
    """Synopses, and blocks where there are equally many."""
    yield english.synopsis, other.synopsis
    if len(english.blocks) == len(other.blocks):
        yield from zip(english.blocks, other.blocks, strict=True)


def read_descriptions(path: Path) -> dict[tuple[str, str], Description]:
    """Reads a Translation file of an archive: descriptions by package and checksum of the English text.

    Raises:
        UserError: a line is neither a field nor a continuation, or `read_lines`'s.
    """
    found: dict[tuple[str, str], Description] = {}
    package = checksum = synopsis = ""
    wrapped: list[str] = []

    def finish() -> None:
        if package and checksum and synopsis:
            found.setdefault((package, checksum), Description(package, synopsis, _blocks(wrapped)))

    for number, line in enumerate(read_lines(path), 1):
        if line.startswith(" "):
            wrapped.append(line)
            continue
        if not line:
            finish()
            package, checksum, synopsis, wrapped = "", "", "", []
            continue
        field, colon, value = line.partition(":")
        if not colon:
            raise UserError(f"{path}, line {number:,}: expected 'Field: value', found {line[:40]!r}; remove the file")
        if field == "Package":
            package = value.strip()
        elif field == "Description-md5":
            checksum = value.strip()
        elif field.startswith("Description-"):
            synopsis = " ".join(value.split())
    finish()
    return found


def _blocks(wrapped: Iterable[str]) -> list[str]:
    """Unwraps the lines of a long description: a lone dot or a bullet begins a new block."""
    blocks: list[list[str]] = []
    fresh = True
    for line in wrapped:
        words = line.split()
        if words in ([], ["."]):
            fresh = True
            continue
        text = " ".join(words)
        bullet = _BULLET.match(text)
        if fresh or bullet:
            blocks.append([])
        blocks[-1].append(text[bullet.end() :] if bullet else text)
        fresh = False
    return [" ".join(block) for block in blocks]


def fetch_descriptions(languages: tuple[str, ...], cache: Path, progress: Progress) -> Path:
    """A folder with one `LANGUAGE.txt` for each language, from the archives that this system's apt reads.

    apt works in a folder of its own, so that the system's lists stay as they are; no rights are needed. What was
    fetched once is kept: remove the folder to get newer texts.

    Raises:
        UserError: apt is missing or fails, or the archives have nothing in one of the languages.
    """
    folder = cache / "debian-descriptions" / "-".join(languages)
    wanted = [folder / f"{language}.txt" for language in languages]
    if (folder / FETCHED).exists():
        remedy = f"delete {folder}: it is fetched again"
        check_listing(folder, read_sealed(folder / FETCHED, remedy=remedy), remedy=remedy)
    if all(path.exists() for path in wanted):
        return folder
    if shutil.which("apt-get") is None:
        raise UserError(
            "debian-descriptions needs apt-get, which this system does not have; prepare the data on Debian or in a "
            f"Debian container and copy {folder} from there, or choose another corpus, such as home-assistant"
        )
    folder.mkdir(parents=True, exist_ok=True)
    progress.start("fetching Debian's package descriptions through apt", total=None, unit="file")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".apt") as state:
            files = _update(Path(state), languages)
            for language, path in zip(languages, wanted, strict=True):
                if language not in files:
                    raise UserError(
                        f"debian-descriptions: the archives this system's apt reads have no translations into "
                        f"{language!r}; choose one of {', '.join(LANGUAGES)}, and check that apt reads a Debian archive"
                    )
                write_text(path, "\n\n".join(part.read_text(encoding="utf-8").strip("\n") for part in files[language]))
        write_sealed(folder / FETCHED, listing(folder, [path.name for path in wanted]))
    finally:
        progress.finish()
    return folder


def _update(state: Path, languages: tuple[str, ...]) -> dict[str, list[Path]]:
    """Runs `apt-get update` for descriptions alone; the files it got, by language."""
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    options = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": ",".join(languages),
        "Acquire::GzipIndexes": "false",
        "Acquire::IndexTargets::deb::Packages::DefaultEnabled": "false",
    }
    flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
    said = _apt("update", "-qq", *flags)
    listed = _apt("indextargets", *flags, "--format", "$(LANGUAGE) $(FILENAME)", "Created-By: Translations")
    files: dict[str, list[Path]] = {}
    for language, _, name in (line.partition(" ") for line in sorted(listed.split("\n"))):
        if name and Path(name).exists():
            files.setdefault(language, []).append(Path(name))
    if not files:
        raise UserError(
            f"debian-descriptions: apt fetched no descriptions; it said: {said.strip()[-300:] or 'nothing'}. "
            "Check that this system's apt sources name a Debian archive"
        )
    return files


def _apt(*arguments: str) -> str:
    """Runs apt-get in English; its output.

    Raises:
        UserError: it fails, with its last words.
    """
    result = subprocess.run(
        ["apt-get", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()[-1]
        raise UserError(
            f"debian-descriptions: apt-get {arguments[0]} failed; it said: {said}. Check the network and this system's "
            "apt sources ('apt-get update' by hand tells more), or choose another corpus"
        )
    return result.stdout + result.stderr
