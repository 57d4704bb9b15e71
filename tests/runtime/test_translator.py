"""The stream comes out complete and in order, while it comes in, with bounded memory."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from seqdistill.decoding.engine import EngineTraits
from seqdistill.errors import LineError, UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions
from seqdistill.runtime.translator import translate_stream


class Shouting:
    """Says every line in capitals with its number, and remembers how many lines it got at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []
        self.fingerprint = {"engine": "shouting"}
        self.traits = EngineTraits()

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        assert line_numbers is not None
        self.sizes.append(len(sources))
        time.sleep(self.seconds)
        return [
            [
                TextHypothesis(f"{number} {line.upper()}" if line else "", -1.0, -1.0),
                TextHypothesis("worse", -2.0, -2.0),
            ]
            for number, line in zip(line_numbers, sources, strict=True)
        ]


def test_order_empty_lines_and_line_ends() -> None:
    lines = [f"line {i}\n" if i % 7 else "\n" for i in range(1000)]
    lines[-1] = "no newline at the end\r\n"
    engine = Shouting(0.001)
    expected = [f"{i} LINE {i}" if i % 7 else "" for i in range(1000)]
    expected[-1] = "999 NO NEWLINE AT THE END"
    assert list(translate_stream(engine, DecodingOptions(beam=1), lines, look_ahead=64)) == expected
    assert sum(engine.sizes) == 1000
    assert max(engine.sizes) <= 65  # the queue, and the line the reader handed over meanwhile


def test_an_empty_stream_gives_nothing() -> None:
    assert list(translate_stream(Shouting(), DecodingOptions(beam=1), [])) == []


def test_each_line_is_answered_before_the_next_is_typed() -> None:
    answered = threading.Event()

    def typing() -> Iterator[str]:
        for line in ("one", "two", "three"):
            yield line
            assert answered.wait(5), "the answer must come before the next line"
            answered.clear()

    answers = []
    for answer in translate_stream(Shouting(), DecodingOptions(beam=1), typing()):
        answers.append(answer)
        answered.set()
    assert answers == ["0 ONE", "1 TWO", "2 THREE"]


def test_look_ahead_is_bounded() -> None:
    """An endless stream is read no further than the queue, one line in hand, and what the engine holds."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "again"

    stream = translate_stream(Shouting(), DecodingOptions(beam=1), endless(), look_ahead=10)
    for _ in range(5):
        next(stream)
    time.sleep(0.2)
    assert read <= 5 + 2 * (10 + 2)
    stream.close()
    time.sleep(0.3)
    after = read
    time.sleep(0.2)
    assert read == after


def test_errors_come_after_the_lines_before_them() -> None:
    def broken() -> Iterator[str]:
        yield from ("one", "two")
        raise UserError("line 3 is not UTF-8")

    got = []
    with pytest.raises(UserError, match="line 3 is not UTF-8"):
        for answer in translate_stream(Shouting(), DecodingOptions(beam=1), broken()):
            got.append(answer)
    assert got == ["0 ONE", "1 TWO"]


def test_lines_before_one_that_is_refused_come_first() -> None:
    """Also where those before it hold another one, and where there are none."""

    class Refusing(Shouting):
        def decode(
            self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
        ) -> list[list[TextHypothesis]]:
            for word in ("too long", "too odd"):
                if word in sources:
                    line = (line_numbers or range(0))[sources.index(word)]
                    raise LineError(line, f"line {line + 1}: {word}")
            return super().decode(sources, options, line_numbers=line_numbers)

    for lines, message in (
        (["a", "b", "too long", "c"], "line 3: too long"),
        (["a", "too odd", "b", "too long"], "line 2: too odd"),
        (["too long", "a"], "line 1: too long"),
    ):
        got = []
        with pytest.raises(LineError, match=message) as caught:
            for answer in translate_stream(Refusing(), DecodingOptions(beam=1), lines, look_ahead=2):
                got.append(answer)
        assert got == [f"{number} {line.upper()}" for number, line in enumerate(lines[: caught.value.line])]
