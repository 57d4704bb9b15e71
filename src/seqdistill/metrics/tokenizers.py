"""sacreBLEU's tokenisers: which a metric takes, and what those that need more than sacreBLEU are missing."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import sacrebleu

from seqdistill.errors import UserError
from seqdistill.options import MetricOptions
from seqdistill.text.languages import Languages, words_of

TOKENIZERS = tuple(sacrebleu.BLEU.TOKENIZERS)
_MODEL = (
    "its SentencePiece model, which sacreBLEU downloads into ~/.sacrebleu/models, once: connect to the internet, and "
    "delete a half-downloaded file there"
)
NEEDS = {
    "ja-mecab": "MeCab: pip install 'sacrebleu[ja]'",
    "ko-mecab": "MeCab: pip install 'sacrebleu[ko]'",
    **dict.fromkeys(("spm", "flores101", "flores200", "spBLEU-1K"), _MODEL),
}
"""What a tokeniser needs besides sacreBLEU."""
DOWNLOAD_SECONDS = 20.0


def scored_words(options: MetricOptions) -> str:
    """The tokeniser of BLEU: the one asked for, or the language's."""
    return options.tokenize or words_of(options.target_language).bleu


def completed(options: MetricOptions, languages: Languages, *, lowercase: bool) -> MetricOptions:
    """The options and, where they say nothing, what is known of the text.

    Args:
        lowercase: whether it was made for models that know no case.
    """
    known = {"lowercase": options.lowercase or lowercase}
    if not options.target_language:
        known |= {"target_language": languages.target, "tokenize": options.tokenize or languages.tokenize}
    return options.model_copy(update=known)


def check_tokenizer(name: str) -> None:
    """Raises UserError for a name that sacreBLEU does not have; says the nearest."""
    if name not in TOKENIZERS:
        raise UserError(f"unknown tokeniser {name!r}{closest(name, TOKENIZERS)}; sacreBLEU has {', '.join(TOKENIZERS)}")


def bleu_program(tokenize: str, *, lowercase: bool = False) -> sacrebleu.BLEU:
    """sacreBLEU's BLEU with a tokeniser.

    Raises:
        UserError: an unknown tokeniser, or one that needs what is not installed; says what to install.
    """
    check_tokenizer(tokenize)
    with _told(tokenize):
        return sacrebleu.BLEU(lowercase=lowercase, tokenize=tokenize, force=tokenize == "none")


@lru_cache(maxsize=8)
def tokenizer(name: str) -> Callable[[str], str]:
    """A tokeniser by its name: the words of a line with blanks between them.

    Raises:
        UserError: as `bleu_program`.
    """
    return bleu_program(name).tokenizer


@contextmanager
def _told(name: str) -> Iterator[None]:
    """sacreBLEU's ways to fail (it raises what it can, asserts, or exits) as one error; downloads do not hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        yield
    except (ImportError, RuntimeError, OSError, AssertionError, SystemExit) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"sacreBLEU's tokeniser {name!r} needs {NEEDS.get(name, 'more than is installed')}; or choose another with "
            f"--tokenize, such as char, which needs nothing (sacreBLEU said: {said})"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def closest(name: str, valid: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or nothing where no name is near."""
    close = difflib.get_close_matches(name.lower(), list(valid), n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}?" if close else ""
