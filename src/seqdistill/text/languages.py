"""What a language's words are, for scoring and measuring: one table; and what is kept of it with data and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple


class Words(NamedTuple):
    """How the words of a language are found."""

    bleu: str
    """sacreBLEU's tokeniser."""
    measures: str
    """A name of `measures.tokenizers.TOKENIZERS`."""
    ter: str
    """One of `metrics.surface.TER_WORDS`."""

    @property
    def spaced(self) -> bool:
        """Whether blanks stand between words."""
        return self.ter == "tercom"


_BLANKS = Words("13a", "moses", "tercom")
_CHARACTERS = Words("char", "char", "char")
LANGUAGES = {
    "zh": Words("zh", "zh", "asian"),
    "ja": Words("ja-mecab", "char", "asian"),
    "ko": Words("ko-mecab", "moses", "tercom"),
    **dict.fromkeys(("th", "lo", "km", "my", "bo", "dz"), _CHARACTERS),
}
"""Languages whose words are not simply between blanks. zh, ja and ko are as in sacreBLEU, which has no tokeniser of its
own for the others: they are counted by characters, the same on every machine (flores200 must be asked for)."""

_THREE_LETTERS = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "wuu"), "zh"),
    **{"jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km", "dzo": "dz"},
    **{"mya": "my", "bur": "my", "bod": "bo", "tib": "bo"},
}
_MOSTLY, _HARDLY = 0.5, 0.05
_LOOKED_AT = 1000
"""Lines that tell."""


class Languages(NamedTuple):
    """The languages of parallel text, as `prepare` keeps them in data.json and `train` in config.json."""

    source: str = ""
    """A code such as de or zh-Hans; empty: not known."""
    target: str = ""
    tokenize: str | None = None
    """sacreBLEU's tokeniser for targets, where it is not that of the language."""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Languages:
        """What `_asdict` gave; raises KeyError or TypeError for anything else."""
        return cls(str(kept["source"]), str(kept["target"]), kept["tokenize"])


def base_code(language: str) -> str:
    """The two-letter code of a language: `zh` of zh-Hans, zh_TW and zho_Hans.

    >>> base_code("zho_Hant"), base_code("pt-BR")
    ('zh', 'pt')
    """
    code = language.replace("_", "-").split("-")[0].lower()
    return _THREE_LETTERS.get(code, code)


def words_of(language: str) -> Words:
    """How the words of a language are found; of one that is not known, between blanks."""
    return LANGUAGES.get(base_code(language), _BLANKS)


def guessed_tokenizer(lines: Iterable[str]) -> str | None:
    """sacreBLEU's tokeniser for text whose language nobody named: None where its words stand between blanks.

    Where most letters of the first lines are of scripts without blanks, `zh` for Han alone, characters for all others.
    `measures` has tokenisers of these names too.

    >>> guessed_tokenizer(["Ich sage 你好"]), guessed_tokenizer(["我说话 hi"]), guessed_tokenizer(["そうです"])
    (None, 'zh', 'char')
    """
    from seqdistill.text.letters import letters_by_script  # and regex, which opening an exported model does not need

    counts, total = letters_by_script("".join(islice(lines, _LOOKED_AT)))
    unspaced = sum(counts.values())
    if unspaced <= _MOSTLY * total:
        return None
    return "zh" if counts["Han"] >= (1 - _HARDLY) * unspaced else "char"
