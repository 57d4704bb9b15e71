"""Words of a line, as the measures count them: one stated tokeniser a language, part of every signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from typing import Any, cast

from sacremoses import MosesTokenizer

from seqdistill.errors import UserError, nearest
from seqdistill.metrics.tokenizers import tokenizer
from seqdistill.text.languages import base_code, words_of
from seqdistill.text.letters import is_visible
from seqdistill.vocabulary.normalization import Normalization, normalizer
from seqdistill.workers import in_processes

_BLANKS = re.compile(r"\s+")


def _moses(language: str) -> Callable[[str], list[str]]:
    tokenizer = MosesTokenizer(lang=language or "en")
    return lambda line: cast("list[str]", tokenizer.tokenize(line, escape=False))


def _sacrebleu(name: str) -> Callable[[str], list[str]]:
    split = tokenizer(name)
    return lambda line: split(line).split()


TOKENIZERS: dict[str, Callable[[str], Callable[[str], list[str]]]] = {
    "moses": _moses,
    "13a": lambda _: _sacrebleu("13a"),
    "zh": lambda _: _sacrebleu("zh"),
    "char": lambda _: lambda line: list(_BLANKS.sub("", line)),
    "none": lambda _: str.split,
}
"""By name, from a two-letter language code: Moses' rules; sacreBLEU's 13a; its Chinese (each ideograph a word);
every character; words as they stand between blanks, for text that is tokenised."""

OWN_LINES, CHUNK_LINES = 10_000, 2_000


@dataclass(frozen=True)
class WordTokenizer:
    """Splits a line into words.

    Args:
        signature: its name, language, case and version, as `tok:moses-de|case:lc|sacremoses:0.2.0`.
        split: the words of a line; none for a blank one.
        made_from: the arguments of `create_tokenizer` that make it again, in another process say.
    """

    signature: str
    split: Callable[[str], list[str]]
    made_from: Mapping[str, Any]


def create_tokenizer(
    language: str = "", *, name: str | None = None, lowercase: bool = False, normalization: Normalization = "identity"
) -> WordTokenizer:
    """Makes a language's tokeniser.

    Args:
        language: its code; Moses' rules for a language it has no list of abbreviations for are the English.
        name: a key of TOKENIZERS. None: the language's own of `text.languages`, otherwise Moses' rules.
        lowercase: whether case is dropped, which makes tables of small corpora less sparse.
        normalization: what is done to a line first, so that a corpus that went through a tokenizer's normalisation has
            the words of one that did not.

    Raises:
        UserError: no tokeniser has this name; tells the nearest.
    """
    made_from = {"language": language, "name": name, "lowercase": lowercase, "normalization": normalization}
    name, language = name or words_of(language).measures, base_code(language)
    if name not in TOKENIZERS:
        raise UserError(f"unknown tokeniser {name!r}: {nearest(name, TOKENIZERS)}")
    words = TOKENIZERS[name](language)
    label = f"moses-{language or 'en'}" if name == "moses" else name
    library = {"moses": "sacremoses", "13a": "sacrebleu", "zh": "sacrebleu"}.get(name)
    parts = [f"tok:{label}", f"case:{'lc' if lowercase else 'mixed'}"]
    if normalization != "identity":
        parts.append(f"norm:{normalization}")
    normalize = normalizer(normalization)
    if library:
        parts.append(f"{library}:{version(library)}")

    def split(line: str) -> list[str]:
        line = normalize(line.lower() if lowercase else line)
        return words(line) if is_visible(line) else []

    return WordTokenizer("|".join(parts), split, made_from)


Words = tuple[list[str], list[str]]
"""Of the source and of the target of a pair."""
Chunk = tuple[int, list[tuple[str, str]]]
"""Pairs that one process tokenises at a time, by their number."""


def tokenised(
    pairs: Iterable[tuple[str, str]], tokenizers: tuple[WordTokenizer, WordTokenizer], *, workers: int
) -> Iterator[Words]:
    """The words of each pair, in order; those after the first OWN_LINES by several processes."""
    source, target = tokenizers
    waiting = iter(pairs)
    for one, other in waiting if workers == 1 else islice(waiting, OWN_LINES):
        yield source.split(one), target.split(other)
    # Called until a chunk is empty. Nothing is started for a text that ended before.
    chunks = enumerate(iter(lambda: list(islice(waiting, CHUNK_LINES)), []))
    if (first := next(chunks, None)) is None:
        return
    start = partial(_ready, *(dict(tokenizer.made_from) for tokenizer in tokenizers))
    early: dict[int, list[Words]] = {}
    following = 0
    with closing(in_processes(start, chain([first], chunks), workers=workers)) as finished:
        for number, words in finished:
            # Chunks come back in any order: those that are early wait for their turn.
            early[number] = words
            while following in early:
                yield from early.pop(following)
                following += 1


def _ready(source: dict[str, Any], target: dict[str, Any]) -> Callable[[Chunk], tuple[int, list[Words]]]:
    """The start of a process that tokenises."""
    tokenizers = create_tokenizer(**source), create_tokenizer(**target)
    return lambda chunk: (chunk[0], [(tokenizers[0].split(one), tokenizers[1].split(other)) for one, other in chunk[1]])
