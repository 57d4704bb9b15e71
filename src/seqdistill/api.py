"""From Python what the command line does: the same verbs, names of options, defaults and errors.

>>> import seqdistill
>>> try:
...     seqdistill.train(data="data", model="sru", warmups=200, out="student")
... except seqdistill.UserError as error:
...     print(error)
seqdistill.train: unknown key 'warmups'; did you mean 'warmup'?
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import fill
from typing import Any, TypeVar, cast

from seqdistill import pipeline
from seqdistill.commands import COMMANDS
from seqdistill.console import Terminal, lines
from seqdistill.decoding.engine import Engine, ScoringEngine, described
from seqdistill.decoding.guided import Guide, Guided
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.decoding.trace import Trace
from seqdistill.errors import UserError, nearest
from seqdistill.hypothesis import TextHypothesis
from seqdistill.metrics.significance import Comparison
from seqdistill.native.student import checked_lines
from seqdistill.options import CompareOptions, DecodingOptions, LoadOptions, ReportOptions
from seqdistill.progress import Progress, Silent
from seqdistill.recipe import read_recipe
from seqdistill.stages import run_stage
from seqdistill.verbs.compare import compare_files
from seqdistill.verbs.engine import decoding_options, open_engine, tracing
from seqdistill.verbs.report import write_report
from seqdistill.vocabulary.spelling import each_spelled, pieces_allowed, spelled

Function = TypeVar("Function", bound=Callable[..., Any])
Where = str | Path

OUT = "directory of the result; finished there, the function does nothing but return what it found then."
QUIET = "report no progress on standard error."
RAISES = """Raises:
    UserError: an option that there is not, or out of range; input that is not there or cannot be used."""


def _documented(verb: str, *, returns: str = "what the command line prints, by name.", **own: str) -> Any:
    """Gives a function the verb's options as its signature, and a docstring that says what each one is.

    Args:
        own: what the function's own parameters are.
    """

    def document(function: Function) -> Function:
        offered = COMMANDS[verb].kind.offered()
        explained = own | {name: option.help for name, option in offered.items()}
        pairs = (f"{name}: {text}" for name, text in explained.items())
        args = [fill(pair, 116, initial_indent="    ", subsequent_indent=" " * 8) for pair in pairs]
        function.__doc__ = "\n".join(
            [fill(COMMANDS[verb].help, 116), "", "Args:", *args, "", "Returns:", f"    {returns}", "", RAISES]
        )
        parameters = inspect.signature(function, eval_str=True).parameters.values()
        taken = [p for p in parameters if p.kind != p.VAR_KEYWORD] + [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if option.required else option.default,
                annotation=option.field.annotation,
            )
            for name, option in offered.items()
        ]
        function.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
        return function

    return document


def _run(verb: str, options: dict[str, Any], out: Where, quiet: bool) -> dict[str, Any]:
    """Does a stage, or finds it done; its results."""
    if not isinstance(out, str | Path) or not str(out):
        raise UserError(f"out: expected the directory of the result, but got {out!r}; give a path")
    kind = verb.split()[-1]
    given = COMMANDS[verb].kind.read(options, where=f"seqdistill.{kind.replace('-', '_')}")
    return run_stage(kind, given, Path(out), Silent() if quiet else Terminal(), title=kind).results


@_documented("prepare", out=OUT, quiet=QUIET)
def prepare(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("prepare", options, out, quiet)


@_documented("train", out=OUT, quiet=QUIET)
def train(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("train", options, out, quiet)


@_documented("distill", out=OUT, quiet=QUIET)
def distill(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("distill", options, out, quiet)


@_documented("evaluate", out=OUT, quiet=QUIET)
def evaluate(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("evaluate", options, out, quiet)


@_documented("bench", out=OUT, quiet=QUIET)
def bench(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("bench", options, out, quiet)


@_documented("export", out=OUT, quiet=QUIET)
def export(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("export", options, out, quiet)


@_documented("tune-penalty", out=OUT, quiet=QUIET)
def tune_penalty(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("tune-penalty", options, out, quiet)


@_documented("measure", out=OUT, quiet=QUIET)
def measure(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("measure", options, out, quiet)


@_documented("study decision-theory", out=OUT, quiet=QUIET)
def decision_theory(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("study decision-theory", options, out, quiet)


@_documented("study modes", out=OUT, quiet=QUIET)
def modes(*, out: Where, quiet: bool = False, **options: Any) -> dict[str, Any]:
    return _run("study modes", options, out, quiet)


@_documented(
    "compare",
    returns="for each metric both scores, their difference with interval and p-value, and the signature.",
    a="outputs of system A, one a line.",
    b="outputs of system B, one a line.",
)
def compare(a: Where, b: Where, **options: Any) -> list[Comparison]:
    return compare_files(CompareOptions.read(options, where="seqdistill.compare"), Path(a), Path(b))


@_documented(
    "report",
    returns="the page.",
    directory="directory with the stages of a run.",
    page="the page to write; default DIRECTORY/report.html.",
)
def report(directory: Where, *, page: Where | None = None, **options: Any) -> Path:
    page = Path(page or Path(directory) / pipeline.REPORT)
    write_report(Path(directory), page, ReportOptions.read(options, where="seqdistill.report"))
    return page


def run(recipe: Where, *, out: Where | None = None, jobs: int = 1, quiet: bool = False) -> dict[str, dict[str, Any]]:
    """Runs a recipe: every stage that is not finished, in order; killed at any moment, the same call continues.

    Args:
        recipe: a TOML file of stages.
        out: directory of all stages; default runs/NAME.
        jobs: stages at a time, each on its share of the cores.
        quiet: report no progress on standard error.

    Returns:
        The results of every stage, by its name.

    Raises:
        UserError: a mistake in the recipe, found before anything runs; a stage's own error.
    """
    progress: Callable[[], Progress] = Silent if quiet else Terminal if jobs == 1 else lines
    outcomes = pipeline.run(read_recipe(Path(recipe), out=None if out is None else Path(out)), progress, jobs=jobs)
    return {step.name: outcome.results for step, outcome in outcomes}


class Translator:
    """A trained model that takes and gives lines of text; made by `load`. One thread may use it at a time."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        opened = open_engine(options)
        self._engine, self._tokenizers = opened.engine, opened.tokenizers

    @property
    def engine(self) -> str:
        """What computes, such as `compiled float32`."""
        return described(self._engine.fingerprint)

    def translate(
        self,
        lines: Iterable[str],
        *,
        prefix: str | Iterable[str] = "",
        allowed: Iterable[str] | None = None,
        **options: Any,
    ) -> list[str]:
        """The best translation of each line; an empty line for a line without words.

        Args:
            prefix: text that every output begins with, or a list of texts, one for each line.
            allowed: for each line the pieces its output may be made of, with spaces between them.
            options: of decoding, by the names of `seqdistill translate`, instead of those given to `load`.

        Raises:
            UserError: an option that is none of decoding, or that this model or engine has not.
        """
        if "n_best" in options:
            raise UserError("translate returns the best of each line: leave n_best out, or call hypotheses")
        found = self.hypotheses(lines, prefix=prefix, allowed=allowed, **options)
        return [hypotheses[0].text for hypotheses in found]

    def hypotheses(
        self,
        lines: Iterable[str],
        *,
        prefix: str | Iterable[str] = "",
        allowed: Iterable[str] | None = None,
        **options: Any,
    ) -> list[list[TextHypothesis]]:
        """For each line up to `n_best` hypotheses with log-probability and score, best first.

        Args, Raises: as `translate`.
        """
        given = checked_lines(lines)
        return self._told(prefix, allowed, len(given)).decode(given, self._decoding(options))

    def scores(self, sources: Iterable[str], targets: Iterable[str]) -> list[float]:
        """Log-probability of each target given its source, divided by its tokens, EOS included in both; nats.

        Raises:
            UserError: an engine that scores no text of others; not as many targets as sources.
        """
        if not self._engine.traits.scores:
            raise UserError(
                f"the engine {self._engine.fingerprint['engine']} scores no given text with this model: load an "
                "autoregressive model with engine='compiled' or 'torch'"
            )
        pairs = checked_lines(sources), checked_lines(targets)
        if len(pairs[0]) != len(pairs[1]):
            raise UserError(f"scores: {len(pairs[0])} sources and {len(pairs[1])} targets; expected one target each")
        return cast(ScoringEngine, self._engine).scores(*pairs)

    def traces(self, line: str, **options: Any) -> list[Trace]:
        """How a non-autoregressive model came to its `n_best` best outputs, iteration by iteration.

        Args, Raises: as `translate`.
        """
        return tracing(self._engine).traces(line, self._decoding(options))

    def _told(self, prefix: str | Iterable[str], allowed: Iterable[str] | None, count: int) -> Engine:
        """The engine that is told these rules, instead of those given to `load`, for so many lines."""
        inner = self._engine.engine if isinstance(self._engine, RerankingEngine) else self._engine
        if isinstance(prefix, str) and not prefix and allowed is None:
            if isinstance(inner, Guided):
                inner.check_lines(count)
            return self._engine
        if self._options.rerank:
            raise UserError("prefix and allowed of one call do not go with rerank: give them to seqdistill.load")
        target = self._tokenizers.target
        texts = {"prefix": () if isinstance(prefix, str) else checked_lines(prefix, "prefix"), "allowed": ()}
        if allowed is not None:
            texts["allowed"] = checked_lines(allowed, "allowed")
        for name, given in (("prefix", prefix), ("allowed", allowed)):
            if not isinstance(given, str | None) and len(texts[name]) != count:
                raise UserError(f"{name}: has {len(texts[name])} lines, but {count} are decoded; give a line for each")
        guide = Guide(
            spelled(prefix, target, where=f"prefix {prefix!r}") if isinstance(prefix, str) else (),
            each_spelled(texts["prefix"], target, where="prefix"),
            pieces_allowed(texts["allowed"], target, where="allowed"),
        )
        names = {"prefix": "prefix", "prefixes": "prefix", "allowed": "allowed"}
        return Guided(inner.engine if isinstance(inner, Guided) else inner, guide, names=names)

    def _decoding(self, changes: dict[str, Any]) -> DecodingOptions:
        for name in changes:
            if name not in DecodingOptions.model_fields:
                is_known = name in LoadOptions.offered()
                advice = "give it to seqdistill.load" if is_known else nearest(name, DecodingOptions.model_fields)
                raise UserError(f"{name!r} is no option of decoding; {advice}")
        return decoding_options(self._options.replaced(**changes), self._engine)
