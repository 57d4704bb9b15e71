"""METEOR 1.5 (Denkowski and Lavie 2014) by its official Java program, driven through its `-stdio` protocol.

The program is the jar that the package pycocoevalcap ships (extra `meteor`). That package has the paraphrase table of
English alone, so other languages are matched by exact words and stems, with the program's own weights for the language.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from seqdistill.errors import UserError
from seqdistill.metrics.metric import Score, check_parallel

JAR = "meteor-1.5.jar"
CHUNKS, HYPOTHESIS_MATCHES, REFERENCE_MATCHES = 20, 21, 22  # columns of the 23 statistics; 0 and 1 count words


@dataclass(frozen=True)
class Language:
    """Options of the program for one language.

    Args:
        code: the program's own.
        modules: stages of matching, in order.
        normalize: the program can tokenise it; otherwise it only lower-cases, and takes words as they stand.
    """

    code: str
    modules: tuple[str, ...]
    normalize: bool


LANGUAGES: dict[str, Language] = {
    "en": Language("en", ("exact", "stem", "synonym", "paraphrase"), normalize=True),
    "cs": Language("cz", ("exact",), normalize=True),
    **{code: Language(code, ("exact", "stem"), normalize=True) for code in ("de", "es", "fr", "ru")},
    **{code: Language(code, ("exact", "stem"), normalize=False) for code in ("da", "fi", "hu", "it", "nl", "no")},
    **{code: Language(code, ("exact", "stem"), normalize=False) for code in ("pt", "ro", "tr")},
    "sv": Language("se", ("exact", "stem"), normalize=False),
}


class Program:
    """The running Java program, which answers each line of input with one or more lines; it ends with this object."""

    def __init__(self, arguments: Sequence[str]):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8"
        )
        weakref.finalize(self, _end, self._process)

    def ask(self, line: str, answers: int) -> list[str]:
        """Writes a line and reads that many answers.

        Raises:
            UserError: the program failed or reported an error, which is quoted.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail("")
        found = [self._process.stdout.readline() for _ in range(answers)]
        if not all(found) or found[0].startswith("Error"):
            self._fail(found[0])
        return found

    def _fail(self, answer: str) -> NoReturn:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        said = (answer + self._errors.read().decode(errors="replace")).strip() or "nothing"
        raise UserError(f"METEOR's Java program failed; it said: {said[:400]}; run `java -version` to check Java")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


class Meteor:
    """METEOR of one language, 0 to 1. The program is started once, by the first call (ten seconds for English)."""

    name = "meteor"
    higher_is_better = True

    def __init__(self, language: Language, java: str, jar: Path):
        self.language = language
        words = "-norm" if language.normalize else "-lower"
        options = ["-stdio", "-l", language.code, words, "-m", " ".join(language.modules)]
        self._arguments = [java, "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(jar), "-", "-", *options]

    @cached_property
    def _program(self) -> Program:
        return Program(self._arguments)

    @property
    def signature(self) -> str:
        words = "norm" if self.language.normalize else "lower"
        return f"lang:{self.language.code}|modules:{'+'.join(self.language.modules)}|tok:{words}|version:meteor-1.5"

    def corpus(self, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
        sums = self.statistics(hypotheses, references).sum(axis=0, keepdims=True)
        return Score(self.name, float(self.aggregate(sums)[0]), self.signature)

    def sentences(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return self.aggregate(self.statistics(hypotheses, references)).tolist()

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> Float[np.ndarray, "sentences statistics"]:
        """The program's 23 counts of each line, which add up over lines.

        The program counts no chunk for a hypothesis that matches its reference from end to end, so neither do we.
        """
        check_parallel(hypotheses, references)
        rows = []
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            (answer,) = self._program.ask(f"SCORE ||| {_plain(reference)} ||| {_plain(hypothesis)}", 1)
            rows.append([float(number) for number in answer.split()])
        table = np.array(rows)
        whole = (table[:, CHUNKS] == 1) & (table[:, HYPOTHESIS_MATCHES] == table[:, 0])
        table[whole & (table[:, REFERENCE_MATCHES] == table[:, 1]), CHUNKS] = 0
        return table

    def aggregate(self, sums: Float[np.ndarray, "samples statistics"]) -> Float[np.ndarray, " samples"]:
        values = []
        for row in sums.tolist():  # the program answers with the value of each line, here one, then of all together
            answers = self._program.ask("EVAL ||| " + " ".join(map(str, row)), 2)
            values.append(float(answers[1]))
        return np.array(values)


def meteor(language: str) -> Meteor:
    """METEOR for references in `language`, a two-letter code in LANGUAGES.

    Raises:
        UserError: no language or one METEOR does not know, or Java or the jar is missing.
    """
    if language not in LANGUAGES:
        raise UserError(
            f"METEOR matches words by the rules of a language, and has none for {language or '(not given)'!r}; "
            f"give the references' language, one of {', '.join(sorted(LANGUAGES))}"
        )
    java = shutil.which("java")
    if java is None:
        raise UserError(
            "METEOR 1.5 is a Java program, and there is no `java` on the PATH; install a Java runtime (Debian and "
            "Ubuntu: apt install default-jre-headless), or leave METEOR out"
        )
    return Meteor(LANGUAGES[language], java, _jar())


def _jar() -> Path:
    package = importlib.util.find_spec("pycocoevalcap")
    folders = package.submodule_search_locations if package else None
    jar = Path(folders[0], "meteor", JAR) if folders else None
    if jar is None or not jar.is_file():
        raise UserError(
            f"METEOR's program {JAR} was not found: it comes with the package pycocoevalcap; install it with: "
            "pip install 'seqdistill[meteor]'"
        )
    return jar


def _plain(text: str) -> str:
    """Text without the protocol's separator."""
    return " ".join(text.replace("|||", " ").split())
