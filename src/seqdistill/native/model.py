"""The compiled engine as Python calls it: a model in memory, batches of ids in, hypotheses out."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.native import library
from seqdistill.native.directory import Exported, Tensor
from seqdistill.native.search import Search
from seqdistill.native.shortlist import engine_table

_ERROR_BYTES = 1024
_OUT_OF_MEMORY = 2
"""As in cpp/api.h."""
_NO_LISTS = library.Lists()

Found = TypeVar("Found")


class Batch(NamedTuple):
    """Sentences that are decoded together; lists are empty where nothing is given."""

    sources: Sequence[Sequence[int]]
    """With EOS."""
    limits: Sequence[int]
    """Most tokens of each output, EOS included."""
    prefixes: Sequence[Sequence[int]] = ()
    allowed: Sequence[Sequence[int]] = ()


class _Workspace:
    """What a thread needs for a call: scratch memory of the engine, which stays, and places for its answer."""

    def __init__(self, engine: Any) -> None:
        self.handle, self.result = ctypes.c_void_p(), library.Result()
        self.error = ctypes.create_string_buffer(_ERROR_BYTES)
        if engine.sd_workspace_new(ctypes.byref(self.handle)):
            raise MemoryError("no memory is left for the compiled engine")

    def check(self, code: int) -> None:
        """Raises what a function of the engine reports."""
        if code == _OUT_OF_MEMORY:
            raise MemoryError("the compiled engine needs more memory than there is for these sentences")
        if code:
            raise UserError(self.error.value.decode(errors="replace"))


class Model:
    """An exported model, ready to run. Any number of threads may decode at once; each borrows a workspace."""

    def __init__(self, exported: Exported, *, shortlist: bool = True) -> None:
        """Raises UserError for a model that the engine refuses, or where the engine is not there.

        Args:
            shortlist: whether to use that of the export, if it has one.
        """
        self._library = library.engine()
        self._exported = exported  # its weights are mapped as long as it lives
        base = ctypes.addressof(ctypes.c_char.from_buffer(exported.weights))
        tensors = (library.Tensor * len(exported.tensors))(*(_tensor(each, base) for each in exported.tensors))
        self._handle = ctypes.c_void_p()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = exported.settings().encode()
        if self._library.sd_model_new(settings, tensors, len(tensors), ctypes.byref(self._handle), error, _ERROR_BYTES):
            raise UserError(f"{exported.path}: {error.value.decode(errors='replace')}")
        self._iterations = exported.description["iterations"]  # where a search names none
        self._shortlist = None
        if shortlist and exported.shortlist:
            self._table = engine_table(exported.shortlist, target_vocab=exported.sides[1].size)
            self._shortlist = ctypes.addressof(self._table[0])
        self._free: list[_Workspace] = []
        """Workspaces that no thread has."""

    @property
    def instructions(self) -> str:
        """The instruction set that computes, such as avx512vnni."""
        return self._library.sd_instructions().decode()

    def decode(self, batch: Batch, search: Search, *, scores: bool = True) -> list[list[Hypothesis]]:
        """For each sentence up to `n_best` hypotheses, best first.

        Args:
            scores: whether log-probabilities and scores are wanted; otherwise those that no search needs are 0.

        Raises:
            UserError: a request that the model refuses.
            MemoryError: it needs more memory than there is.
        """
        return self._decoded(batch, search, scores, _hypotheses)

    def best(self, batch: Batch, search: Search) -> list[list[int]]:
        """The tokens of the best hypothesis of each sentence, without EOS; `n_best` is 1. Probabilities that no search
        needs are not computed.

        Raises: as `decode`.
        """
        return self._decoded(batch, search, False, _tokens)

    def _decoded(
        self, batch: Batch, search: Search, scores: bool, read: Callable[[Any, int], list[Found]]
    ) -> list[Found]:
        count, limits = len(batch.sources), array("i", batch.limits)
        lists = [_lists(rows) for rows in (batch.sources, batch.prefixes, batch.allowed)]
        request = library.Request(
            count,
            *(pointers for pointers, _ in lists),
            self._shortlist,
            limits.buffer_info()[0],
            search.beam,
            search.n_best,
            search.no_repeat_ngram,
            search.min_length,
            search.iterations or self._iterations,
            scores,
            search.length_penalty,
            search.penalty,
        )
        workspace = self._borrowed()
        try:
            workspace.check(
                self._library.sd_decode(
                    self._handle, workspace.handle, request, workspace.result, workspace.error, _ERROR_BYTES
                )
            )
            return read(workspace.result, count)
        finally:
            self._free.append(workspace)

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each target and EOS given its source, over all words; nats.

        Args:
            sources: with EOS.
            targets: without.

        Raises:
            UserError: a model that is not autoregressive, or a request that it refuses.
            MemoryError: as `decode`.
        """
        lists = [_lists(rows) for rows in (sources, targets)]
        log_probs = (ctypes.c_double * len(sources))()
        workspace = self._borrowed()
        try:
            given = len(sources), lists[0][0], lists[1][0], log_probs
            workspace.check(
                self._library.sd_score(self._handle, workspace.handle, *given, workspace.error, _ERROR_BYTES)
            )
            return list(log_probs)
        finally:
            self._free.append(workspace)

    def _borrowed(self) -> _Workspace:
        try:
            return self._free.pop()
        except IndexError:
            return _Workspace(self._library)

    def __del__(self) -> None:
        for workspace in getattr(self, "_free", ()):
            self._library.sd_workspace_free(workspace.handle)
        if getattr(self, "_handle", None):
            self._library.sd_model_free(self._handle)


def _tensor(tensor: Tensor, base: int) -> Any:
    places = [None if offset is None else base + offset for offset in (tensor.data, tensor.scale, tensor.correction)]
    return library.Tensor(
        tensor.name.encode(),
        int(tensor.matrix),
        tensor.rows,
        tensor.columns,
        *places,
    )


def _lists(rows: Sequence[Sequence[int]]) -> tuple[library.Lists, Any]:
    """Lists as the engine takes them, and what keeps their memory."""
    if not rows:
        return _NO_LISTS, None
    flat: list[int] = []
    ends: list[int] = []
    for row in rows:
        flat += row
        ends.append(len(flat))
    # One more value: an array without any has no address, and NULL means that none are given.
    kept = array("i", [*flat, 0]), array("q", ends)
    return library.Lists(kept[0].buffer_info()[0], kept[1].buffer_info()[0]), kept


def _tokens(result: Any, sentences: int) -> list[list[int]]:
    """The tokens of a result that has a hypothesis for each sentence."""
    ends = result.ends[:sentences]
    tokens = result.tokens[: ends[-1]] if ends[-1] else []
    if sentences == 1:
        return [tokens]
    return [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _hypotheses(result: Any, sentences: int) -> list[list[Hypothesis]]:
    """Copies a result out of the workspace."""
    counts = result.counts[:sentences]
    number = sum(counts)
    if not number:
        return [[] for _ in counts]
    ends = result.ends[:number]
    tokens = result.tokens[: ends[-1]] if ends[-1] else []
    starts = [0, *ends[:-1]]
    found = map(
        Hypothesis,
        (tuple(tokens[start:end]) for start, end in zip(starts, ends, strict=True)),
        result.log_probs[:number],
        result.scores[:number],
        result.passes[:number],
        result.iterations[:number],
    )
    return [[next(found) for _ in range(count)] for count in counts]
