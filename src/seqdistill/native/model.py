"""The compiled engine as Python calls it: a model in memory, batches of ids in, hypotheses out."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.native import library
from seqdistill.native.directory import Exported, Tensor
from seqdistill.native.search import Search
from seqdistill.native.shortlist import RaggedLists, Shortlists

_ERROR_BYTES = 1024
_OUT_OF_MEMORY = 2
"""As in cpp/api.h."""


class Batch(NamedTuple):
    """Sentences that are decoded together; lists are empty where nothing is given."""

    sources: Sequence[Sequence[int]]
    """With EOS."""
    limits: Sequence[int]
    """Most tokens of each output, EOS included."""
    prefixes: Sequence[Sequence[int]] = ()
    allowed: Sequence[Sequence[int]] = ()
    shortlisted: bool = True
    """Whether to use the model's shortlist, if it has one."""


class Model:
    """An exported model, ready to run. Any number of threads may decode at once; each borrows a workspace."""

    def __init__(self, exported: Exported) -> None:
        """Raises UserError for a model that the engine refuses, or where the engine is not there."""
        self._library = library.engine()
        self._exported = exported  # its weights are mapped as long as it lives
        base = ctypes.addressof(ctypes.c_char.from_buffer(exported.weights))
        tensors = (library.Tensor * len(exported.tensors))(*(_tensor(each, base) for each in exported.tensors))
        self._handle = ctypes.c_void_p()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = exported.settings().encode()
        if self._library.sd_model_new(settings, tensors, len(tensors), ctypes.byref(self._handle), error, _ERROR_BYTES):
            raise UserError(f"{exported.path}: {error.value.decode(errors='replace')}")
        table, (_, target) = exported.shortlist, exported.sides
        self._shortlists = table and Shortlists(self._library, table, target_vocab=target.size)
        self._free: list[ctypes.c_void_p] = []
        """Workspaces that no thread has."""

    @property
    def instructions(self) -> str:
        """The instruction set that computes, such as avx512vnni."""
        return self._library.sd_instructions().decode()

    def decode(self, batch: Batch, search: Search, *, iterations: int, scores: bool) -> list[list[Hypothesis]]:
        """For each sentence up to `n_best` hypotheses, best first.

        Args:
            iterations: most of them, of a non-autoregressive model.
            scores: whether log-probabilities and scores are wanted; otherwise those that no search needs are 0.

        Raises:
            UserError: a request that the model refuses.
            MemoryError: it needs more memory than there is.
        """
        count, kept = len(batch.sources), [_lists(rows) for rows in (batch.sources, batch.prefixes, batch.allowed)]
        shortlists = RaggedLists(library.Lists())
        if self._shortlists and batch.shortlisted:
            shortlists = self._shortlists.of(kept[0].pointers, sum(map(len, batch.sources)), count)
        limits = array("i", batch.limits)
        request = library.Request(
            count,
            *(lists.pointers for lists in (*kept, shortlists)),
            limits.buffer_info()[0],
            search.beam,
            search.n_best,
            search.no_repeat_ngram,
            search.min_length,
            iterations,
            int(scores),
            search.length_penalty,
            search.penalty,
        )
        result, error = library.Result(), ctypes.create_string_buffer(_ERROR_BYTES)
        workspace = self._borrowed()
        try:
            code = self._library.sd_decode(
                self._handle, workspace, ctypes.byref(request), ctypes.byref(result), error, _ERROR_BYTES
            )
            _check(code, error)
            return _hypotheses(result, count)
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
        kept = [_lists(rows) for rows in (sources, targets)]
        log_probs, error = (ctypes.c_double * len(sources))(), ctypes.create_string_buffer(_ERROR_BYTES)
        workspace = self._borrowed()
        try:
            lists = [ctypes.byref(each.pointers) for each in kept]
            code = self._library.sd_score(self._handle, workspace, len(sources), *lists, log_probs, error, _ERROR_BYTES)
            _check(code, error)
            return list(log_probs)
        finally:
            self._free.append(workspace)

    def _borrowed(self) -> ctypes.c_void_p:
        try:
            return self._free.pop()
        except IndexError:
            workspace = ctypes.c_void_p()
            if self._library.sd_workspace_new(ctypes.byref(workspace)):
                raise MemoryError("no memory is left for the compiled engine") from None
            return workspace

    def __del__(self) -> None:
        for workspace in getattr(self, "_free", ()):
            self._library.sd_workspace_free(workspace)
        if getattr(self, "_handle", None):
            self._library.sd_model_free(self._handle)


def _check(code: int, error: ctypes.Array[ctypes.c_char]) -> None:
    """Raises what a function of the engine reports."""
    if code == _OUT_OF_MEMORY:
        raise MemoryError("the compiled engine needs more memory than there is for these sentences")
    if code:
        raise UserError(error.value.decode(errors="replace"))


def _tensor(tensor: Tensor, base: int) -> Any:
    places = [None if offset is None else base + offset for offset in (tensor.data, tensor.scale, tensor.correction)]
    return library.Tensor(
        tensor.name.encode(),
        int(tensor.matrix),
        tensor.rows,
        tensor.columns,
        *places,
    )


def _lists(rows: Sequence[Sequence[int]]) -> RaggedLists:
    if not rows:
        return RaggedLists(library.Lists())
    # One more value: an array without any has no address, and NULL means that none are given.
    values, ends = array("i", [*chain.from_iterable(rows), 0]), array("q", accumulate(map(len, rows)))
    return RaggedLists(library.Lists(values.buffer_info()[0], ends.buffer_info()[0]), (values, ends))


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
