"""`translate`: lines in, lines out, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from seqdistill.decoding.engine import Engine, described
from seqdistill.decoding.guided import Guided
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.options import TranslateOptions
from seqdistill.runtime.translator import translate_stream
from seqdistill.verbs.engine import decoding_options, open_engine, tracing


def translate_lines(
    settings: TranslateOptions, lines: Iterable[str], *, tell: Callable[[str], object] = lambda _: None
) -> Iterator[str]:
    """One translation a line; an empty line gives an empty one.

    Args:
        tell: is told which engine `auto` chose, and why it is not a faster one where that is not built.
    """
    opened = open_engine(settings, scored=False)
    engine = opened.engine
    if settings.engine == "auto":
        tell(f"engine: {described(engine.fingerprint)}{opened.note and f' ({opened.note})'}")
    return translate_stream(engine, decoding_options(settings, engine), _counted(lines, engine))


def _counted(lines: Iterable[str], engine: Engine) -> Iterator[str]:
    """The lines; at their end a UserError if files of prefixes or pieces have more of them."""
    count = 0
    for line in lines:
        count += 1
        yield line
    inner = engine.engine if isinstance(engine, RerankingEngine) else engine
    if isinstance(inner, Guided):
        inner.check_lines(count)


def trace_lines(settings: TranslateOptions, lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The same, a line at a time: its translation, and in lines of text the iterations that led to it.

    Raises:
        UserError: an autoregressive model, or an engine that runs no other.
    """
    engine = tracing(open_engine(settings.replaced(trace=True)).engine)  # `auto` is an engine that traces
    options = decoding_options(settings, engine)
    traces = (engine.traces(line, options)[0] for line in lines)
    return ((trace.translation, trace.lines()) for trace in traces)
