"""An exported model that translates: numpy, sentencepiece and the compiled engine are all that it imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seqdistill.errors import UserError
from seqdistill.hypothesis import EMPTY, Hypothesis, TextHypothesis, as_text, longest_first
from seqdistill.native.directory import Exported, open_exported
from seqdistill.native.model import Batch, Model
from seqdistill.native.search import Search, check_lengths, length_limit
from seqdistill.threads import usable_cores
from seqdistill.vocabulary.spelling import each_spelled, pieces_allowed, spelled

MOST_TOKENS = 4095
"""Tokens of a source at most: what attends to everything needs memory that grows with their square."""
SCORED = 32
"""Targets that are scored together."""
BATCH_TOKENS = 1024
"""Source tokens times hypotheses in a batch: enough rows that share what is read of weights, few enough for caches."""
_KEPT_OPTIONS = 64
"""Sets of options that are checked once."""

Found = TypeVar("Found")


class Student:
    """A model that `export` wrote; `seqdistill.load` makes it. Any number of threads may use it at once."""

    def __init__(self, directory: str | Path, *, threads: int = 0, shortlist: bool = True, **options: Any) -> None:
        """Maps the weights of an exported directory.

        Args:
            threads: batches decoded side by side; 0: one for each core.
            shortlist: whether to use the one that the export made, if it did.
            options: of decoding, by the names of `seqdistill translate`; every call may give others.

        Raises:
            UserError: no such directory, or a damaged one; the engine is not built here; an option that there is not,
                or a value that it cannot have.
        """
        if type(threads) is not int or threads < 0:
            raise UserError(f"threads: expected a whole number, 0 or more, found {threads!r}")
        if type(shortlist) is not bool:
            raise UserError(f"shortlist: expected True or False, found {shortlist!r}")
        self.exported = open_exported(Path(directory))
        self.model = Model(self.exported, shortlist=shortlist)
        self.threads = threads or usable_cores()
        self.tokenizers = self.exported.tokenizers
        self._traits = self.exported.description["traits"]
        self._source_eos = self.exported.sides[0].ids.eos
        # Who inserts words finds the length, so there is nothing for a beam to try unless one is asked for.
        search = Search(beam=1) if self._traits["inserts"] else Search()
        self._search = _changed(search, self.exported, **options)
        self._kept_search = lru_cache(_KEPT_OPTIONS, typed=True)(partial(_changed, self._search, self.exported))

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
            options: of decoding, instead of those given to `load`.

        Raises:
            UserError: an option that there is not, or that this model has not; a line of more than MOST_TOKENS tokens.
        """
        if "n_best" in options:
            raise UserError("translate returns the best of each line: leave n_best out, or call hypotheses")
        given = self._read(lines, prefix, allowed)
        found = self._run(self.model.best, [], given, self._searched({**options, "n_best": 1}))
        return self.tokenizers.target.decode_batch(found)

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
        given = self._read(lines, prefix, allowed)
        return as_text(self._run(self.model.decode, [EMPTY], given, self._searched(options)), self.tokenizers.target)

    def decode_ids(
        self,
        sources: Sequence[Sequence[int]],
        search: Search,
        *,
        prefixes: Sequence[Sequence[int]] = (),
        allowed: Sequence[Sequence[int]] = (),
        line_numbers: Sequence[int] = (),
        scores: bool = True,
    ) -> list[list[Hypothesis]]:
        """The same in token ids, without BOS and EOS on either side.

        Args:
            prefixes: ids each output begins with; they count as written.
            allowed: ids each output may be made of; EOS always may.
            line_numbers: from 0, for messages only.
            scores: whether log-probabilities are wanted; without them some decoders are faster.
        """
        decode = partial(self.model.decode, scores=scores)
        return self._run(decode, [EMPTY], _Given(sources, prefixes, allowed, line_numbers), search)

    def _run(
        self, decode: Callable[[Batch, Search], Sequence[Found]], empty: Found, given: _Given, search: Search
    ) -> list[Found]:
        """What `decode` finds for each source; `empty` for those without words, which are in no batch."""
        sources = given.sources
        _check_lengths(sources, given.line_numbers)
        if len(sources) == 1 and sources[0]:  # a sentence by itself needs no batches, and no threads
            return [*decode(self._batch(given, (0,), search), search)]
        results = [empty] * len(sources)

        def run(rows: Sequence[int]) -> None:
            for row, found in zip(rows, decode(self._batch(given, rows, search), search), strict=True):
                results[row] = found

        _side_by_side(run, self._batches(sources, search.beam), self.threads)
        return results

    def _batch(self, given: _Given, rows: Sequence[int], search: Search) -> Batch:
        sources, prefixes, allowed, _ = given
        return Batch(
            [[*sources[row], self._source_eos] for row in rows],
            [length_limit(len(sources[row]), search) for row in rows],
            [prefixes[row] for row in rows] if prefixes else (),
            [allowed[row] for row in rows] if allowed else (),
        )

    def score_ids(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability of each target given its source, divided by its tokens, EOS included in both; nats.

        Over all words: a shortlist says nothing of what others wrote.

        Raises:
            UserError: a model that is not autoregressive; a source of more than MOST_TOKENS tokens.
        """
        _check_lengths(sources)
        scores = [0.0] * len(sources)

        def run(rows: Sequence[int]) -> None:
            ended = [[*sources[row], self._source_eos] for row in rows]
            found = self.model.score(ended, [targets[row] for row in rows])
            for row, log_prob in zip(rows, found, strict=True):
                scores[row] = log_prob / (len(targets[row]) + 1)

        order = sorted(range(len(sources)), key=lambda row: -len(targets[row]))
        _side_by_side(run, [order[at : at + SCORED] for at in range(0, len(order), SCORED)], self.threads)
        return scores

    def _read(self, lines: Iterable[str], prefix: str | Iterable[str], allowed: Iterable[str] | None) -> _Given:
        """Lines, and what was given with them, in token ids."""
        texts = checked_lines(lines)
        none = isinstance(prefix, str) and not prefix and allowed is None
        rules = ((), ()) if none else self._read_rules(len(texts), prefix, allowed)
        return _Given(self.tokenizers.source.encode_batch(texts), *rules)

    def _read_rules(
        self, count: int, prefix: str | Iterable[str], allowed: Iterable[str] | None
    ) -> tuple[list[list[int]], list[list[int]]]:
        target, given = self.tokenizers.target, {"prefix": prefix, "allowed": allowed}
        lists = {name: checked_lines(each, name) for name, each in given.items() if not isinstance(each, str | None)}
        for name, each in lists.items():
            if len(each) != count:
                raise UserError(f"{name}: has {len(each)} lines, but {count} are decoded; give a line for each")
        if isinstance(prefix, str):
            prefixes = [spelled(prefix, target, where=f"prefix {prefix!r}")] * count if prefix else []
        else:
            prefixes = each_spelled(lists["prefix"], target, where="prefix")
        pieces = pieces_allowed(lists["allowed"], target, where="allowed") if "allowed" in lists else []
        if self._traits["non_autoregressive"] and (prefixes or pieces):
            raise UserError("prefix and allowed are for autoregressive models, not for this one: leave them out")
        return prefixes, pieces

    def _searched(self, options: dict[str, Any]) -> Search:
        """The search with other options; raises as `_changed`."""
        try:
            return self._kept_search(**options)
        except TypeError:  # a value without a hash, which is no option's
            return _changed(self._search, self.exported, **options)

    def _batches(self, sources: Sequence[Sequence[int]], beam: int) -> list[list[int]]:
        """Row numbers of the sources that have words, similar lengths together, longest first.

        Where there is little to do every thread gets a part of it.
        """
        rows = longest_first(sources)
        most_rows = -(-len(rows) // self.threads)
        batches: list[list[int]] = []
        tokens = BATCH_TOKENS
        for row in rows:
            length = (len(sources[row]) + 1) * beam
            if tokens + length > BATCH_TOKENS or len(batches[-1]) == most_rows:
                batches.append([])
                tokens = 0
            batches[-1].append(row)
            tokens += length
        return batches


def _changed(search: Search, exported: Exported, /, **options: Any) -> Search:
    """A search with other options.

    Raises:
        UserError: an option of other families than the model's; as `Search.changed`.
    """
    traits, default = exported.description["traits"], Search()
    has = {
        "no_repeat_ngram": not traits["non_autoregressive"],
        "min_length": not traits["non_autoregressive"],
        "iterations": traits["iterates"],
        "penalty": traits["inserts"],
    }
    for name, value in options.items():
        if not has.get(name, True) and value != getattr(default, name):
            raise UserError(f"{name} {value} is not for a model of {exported.description['family']}: leave it out")
    return search.changed(options)


class _Given(NamedTuple):
    """What is decoded, in token ids; lists are empty where nothing is given."""

    sources: Sequence[Sequence[int]]
    prefixes: Sequence[Sequence[int]] = ()
    allowed: Sequence[Sequence[int]] = ()
    line_numbers: Sequence[int] = ()


def _check_lengths(sources: Sequence[Sequence[int]], line_numbers: Sequence[int] = ()) -> None:
    way_out = "split the line, or give the trained model to --engine torch"
    check_lengths(sources, line_numbers, most=MOST_TOKENS, reader="the compiled engine", way_out=way_out)


def _side_by_side(run: Any, batches: Sequence[Sequence[int]], threads: int) -> None:
    """Runs every batch, in so many threads; the engine lets go of Python's lock while it works."""
    if len(batches) < 2 or threads == 1:
        for batch in batches:
            run(batch)
        return
    from concurrent.futures import ThreadPoolExecutor  # where it is needed: its import takes milliseconds

    with ThreadPoolExecutor(min(threads, len(batches))) as pool:
        list(pool.map(run, batches))


def checked_lines(given: Iterable[str], name: str = "") -> list[str]:
    """A list of lines; raises UserError for what is none, as a single string, whose letters nobody means."""
    where = f"{name}: " if name else ""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UserError(f"{where}expected a list of lines, but got {given!r}; put what is to be one line into a list")
    lines = list(given)
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str) or not _is_text(line):
            raise UserError(f"{where}line {number}: expected text, but got {line!r}; give strings that UTF-8 can write")
    return lines


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True
