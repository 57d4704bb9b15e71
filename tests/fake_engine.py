"""An engine without a model: it writes words backwards, and can be told to fail, to to be slow."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqdistill.decoding.engine import EngineTraits
from seqdistill.errors import UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions


@dataclass(frozen=True)
class FakeEngine:
    """Hypothesis k of a line is its words backwards, with k and the line's number at the end of those but the first."""

    name: str = "fake"
    seconds: float = 0.0
    """Time a line takes."""
    trouble: str = ""
    """What happens at the line that holds the word `trouble`: "mistake" or "fault"."""

    traits = EngineTraits(samples=True, n_best=True)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"engine": self.name}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        assert line_numbers is not None
        if self.trouble and any("trouble" in source for source in sources):
            self._trouble()
        time.sleep(self.seconds * len(sources))
        return [
            [self._hypothesis(source, line, k) for k in range(options.n_best)]
            for source, line in zip(sources, line_numbers, strict=True)
        ]

    def _hypothesis(self, source: str, line: int, k: int) -> TextHypothesis:
        words = source.split()[::-1]
        return TextHypothesis(" ".join(words + [f"{k}/{line}"] * (k > 0)), -0.1 * line - k, -1.0 / 3 - k)

    def _trouble(self) -> None:
        if self.trouble == "mistake":
            raise UserError("the sentence is in trouble")
        raise ZeroDivisionError("nobody thought of that")


def fake_sources(count: int) -> list[str]:
    """Lines of different lengths; some are empty, some not ASCII."""
    return [" ".join([f"Wort{line}", "größer", "日本"][: line % 4]) for line in range(count)]
