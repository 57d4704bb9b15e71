"""BEER (Stanojević and Sima'an 2014) through the user's own installation of its program, version 2.0."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seqdistill.errors import UserError
from seqdistill.metrics.metric import SentenceMean

SENTENCE = re.compile(r"^sent \d+ score is (\S+)$", re.MULTILINE)


def beer(home: Path | None, *, lowercase: bool) -> SentenceMean:
    """Mean of BEER's sentence scores (the `total` that version 2.0 prints divides by one line too many).

    Args:
        home: the installation's folder, which holds the program `beer`.

    Raises:
        UserError: no folder given, no program in it, or the program fails.
    """
    if home is None:
        raise UserError(
            "BEER is scored by your own installation of it: unpack BEER 2.0 and give its folder as --beer-home DIR"
        )
    program = home / "beer"
    if not program.is_file():
        raise UserError(f"{program}: no such program; --beer-home must name the folder of BEER 2.0 that holds `beer`")

    def score_sentences(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        if lowercase:
            hypotheses, references = [h.lower() for h in hypotheses], [r.lower() for r in references]
        return _run(program, hypotheses, references)

    case = "lc" if lowercase else "mixed"
    return SentenceMean("beer", f"case:{case}|corpus:mean|version:{_version(home)}", score_sentences)


def _version(home: Path) -> str:
    return home.resolve().name.replace("|", "-")


def _run(program: Path, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="seqdistill-beer-") as folder:
        system, reference = Path(folder, "hypotheses"), Path(folder, "references")
        for path, lines in ((system, hypotheses), (reference, references)):
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        arguments = [str(program.resolve()), "-s", str(system), "-r", str(reference), "--printSentScores"]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", check=False)
        except OSError as error:
            raise UserError(f"{program}: cannot be run ({error.strerror}); check the installation of BEER") from None
    values = [float(value) for value in SENTENCE.findall(done.stdout)]
    if done.returncode != 0 or len(values) != len(hypotheses):
        raise UserError(
            f"{program}: expected {len(hypotheses):,} lines `sent N score is X` (BEER 2.0), found {len(values):,}, "
            f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return values
