"""The output of a non-autoregressive model after each iteration, for a person to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from seqdistill.hypothesis import TracedHypothesis
from seqdistill.vocabulary.vocabulary import Vocabulary

SPACE = "▁"
"""What stands for a space in a piece."""


class Part(NamedTuple):
    """A run of text that changed or did not."""

    text: str
    changed: bool


class TracedIteration(NamedTuple):
    """The output after one iteration."""

    parts: tuple[Part, ...]
    """Together the text; what the iteration changed is marked. The first iteration has no marks, as all is new."""
    passes: int
    """Runs of the decoder so far."""
    log_prob: float
    """Sum of the log-probabilities of the tokens."""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


class Trace(NamedTuple):
    """How the output for one source came about."""

    source: str
    translation: str
    iterations: tuple[TracedIteration, ...]

    def lines(self) -> list[str]:
        """A line for the source and for each iteration, changed words in [brackets]."""
        rows = [
            f"{number:>2}  " + "".join(f"[{part.text}]" if part.changed else part.text for part in iteration.parts)
            for number, iteration in enumerate(self.iterations, 1)
        ]
        return [f"    {self.source}", *rows]

    def as_json(self) -> dict[str, Any]:
        """What `trace_from` reads."""
        iterations = [
            {
                "passes": iteration.passes,
                "log_prob": round(iteration.log_prob, 4),
                "parts": [[part.text, part.changed] for part in iteration.parts],
            }
            for iteration in self.iterations
        ]
        return {"source": self.source, "translation": self.translation, "iterations": iterations}


def trace_from(stored: Mapping[str, Any]) -> Trace:
    """The inverse of `Trace.as_json`."""
    iterations = tuple(
        TracedIteration(tuple(Part(*part) for part in row["parts"]), row["passes"], row["log_prob"])
        for row in stored["iterations"]
    )
    return Trace(stored["source"], stored["translation"], iterations)


def text_trace(source: str, traced: TracedHypothesis, tokenizer: Vocabulary, *, inserts: bool) -> Trace:
    """A trace in words.

    Args:
        inserts: whether words may move because others are inserted or deleted; otherwise positions are compared.
    """
    iterations, before = [], None
    for version in traced.versions:
        changed = _changed(before, version.tokens, inserts=inserts)
        parts = _parts([tokenizer.piece(token) for token in version.tokens], changed)
        iterations.append(TracedIteration(parts, version.passes, version.log_prob))
        before = version.tokens
    return Trace(source, tokenizer.decode(traced.hypothesis.tokens), tuple(iterations))


def _changed(before: Sequence[int] | None, after: Sequence[int], *, inserts: bool) -> list[bool]:
    """Which tokens were not there in the version before."""
    if before is None:
        return [False] * len(after)
    if not inserts:
        return [old != new for old, new in zip(before, after, strict=True)]
    # What stays may move: matching runs of both versions are unchanged, wherever they stand now.
    changed = [True] * len(after)
    for match in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        changed[match.b : match.b + match.size] = [False] * match.size
    return changed


def _parts(pieces: Sequence[str], changed: Sequence[bool]) -> tuple[Part, ...]:
    """Pieces joined into runs; the space before a changed piece is not part of the change."""
    parts: list[Part] = []
    for piece, is_changed in zip(pieces, changed, strict=True):
        text = piece.replace(SPACE, " ")
        word = text.lstrip(" ")
        # The spaces that lead, then the word.
        _add(parts, Part(text[: len(text) - len(word)], False))
        _add(parts, Part(word, is_changed))
    if parts and not parts[0].changed:
        parts[0] = Part(parts[0].text.lstrip(" "), False)
    return tuple(part for part in parts if part.text)


def _add(parts: list[Part], part: Part) -> None:
    if not part.text:
        return
    if parts and parts[-1].changed == part.changed:
        part = Part(parts.pop().text + part.text, part.changed)
    parts.append(part)
