"""What may be written next: one interface for greedy decoding, sampling and beam search.

A processor is a rule without state: from what a row has written it says what may come next, so nothing has to follow
when beams are reordered or rows leave the batch. Log-probabilities are those of the model given all that may not be
written: normalised over what is left, as in CTranslate2, so a token that is forced costs nothing. (fairseq and Hugging
Face keep the probability lost to rules in their scores.) Without a rule only `SpecialIds.never_written` is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqdistill.decoding.given import Given
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import SpecialIds

FREE = -1
"""Stands in `ForcedPrefix` where a sentence may choose."""


class Rows(NamedTuple):
    """The rows that are being written."""

    written: Int[Tensor, "rows length"]
    """So far, without BOS."""
    sentences: Int[Tensor, " rows"]
    """The sentence each row belongs to, by its number in the batch."""


@runtime_checkable
class Processor(Protocol):
    """A rule about what may come next."""

    def forbid(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> None:
        """Sets what may not come next to minus infinity, in place."""
        ...


@dataclass(frozen=True)
class AllowedPieces:
    """Only these pieces, and EOS, may be written."""

    ids: Int[Tensor, "batch most"]
    """Of each sentence; filled up with EOS."""

    def forbid(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> None:
        """See `Processor`."""
        ids = self.ids[rows.sentences]
        kept = log_probs.gather(1, ids)
        # EOS, which rows are filled up with, is put back several times, with the same value.
        log_probs.fill_(-torch.inf).scatter_(1, ids, kept)


@dataclass(frozen=True)
class NoRepeatNgram:
    """No `size` tokens in a row are written twice in one output (Paulus et al. 2018), as in fairseq and Hugging Face.

    With size 2, after "a b c a" no "b" may follow: "a b" is there already.

        >>> log_probs = torch.zeros(1, 4)
        >>> a, b, c = 1, 2, 3
        >>> NoRepeatNgram(2).forbid(log_probs, Rows(torch.tensor([[a, b, c, a]]), torch.tensor([0])))
        >>> log_probs
        tensor([[0., 0., -inf, 0.]])
    """

    size: int

    def forbid(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> None:
        """See `Processor`."""
        length = rows.written.shape[1]
        if length < self.size:
            return
        # All n-grams so far whose beginning is that of the one that would be completed now: their last token is barred.
        # (rows, places, size): a b c a in twos is ab bc ca, and what is being written begins with a.
        ngrams = rows.written.unfold(1, self.size, 1)
        beginning = rows.written[:, length - self.size + 1 :]
        row, place = (ngrams[:, :, :-1] == beginning[:, None]).all(2).nonzero(as_tuple=True)
        log_probs[row, ngrams[row, place, -1]] = -torch.inf


@dataclass(frozen=True)
class MinLength:
    """An output has at least `length` tokens, EOS not counted; the limit on its length weighs more."""

    length: int
    eos: int

    def forbid(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> None:
        """See `Processor`."""
        if rows.written.shape[1] < self.length:
            log_probs[:, self.eos] = -torch.inf


@dataclass(frozen=True)
class ForcedPrefix:
    """Every output begins with the prefix of its sentence, whatever the other rules say."""

    ids: Int[Tensor, "batch longest"]
    """Of each sentence; filled up with FREE."""

    def forbid(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> None:
        """See `Processor`."""
        if (length := rows.written.shape[1]) >= self.ids.shape[1]:
            return
        forced = self.ids[rows.sentences, length]
        row = (forced != FREE).nonzero().squeeze(1)
        log_probs[row] = -torch.inf
        log_probs[row, forced[row]] = 0.0  # probability 1


@dataclass(frozen=True)
class Processors:
    """All rules of a batch, as one."""

    never_written: Int[Tensor, " ids"]
    eos: int
    rules: tuple[Processor, ...]
    """In this order; later ones weigh more."""

    def __call__(self, log_probs: Float[Tensor, "rows vocab"], rows: Rows) -> Float[Tensor, "rows 1"]:
        """Sets what may not come next to minus infinity, in place: what `step` returns belongs to the decoder.

        Where the rules leave nothing, EOS may come.

        Returns:
            The log of the probability that is left: to be subtracted from the log-probability of what is chosen.
        """
        # Without rules what is lost is small, and few columns are read for it instead of all: log(1 - lost), kept above
        # log 1e-6 for a model that would write nothing else.
        if not self.rules:
            forbidden = log_probs.index_select(1, self.never_written).exp().sum(1, keepdim=True)
            log_probs.index_fill_(1, self.never_written, -torch.inf)
            return torch.log1p(-forbidden.clamp(max=1 - 1e-6))
        log_probs.index_fill_(1, self.never_written, -torch.inf)
        for rule in self.rules:
            rule.forbid(log_probs, rows)
        stuck = (log_probs.amax(1) == -torch.inf).nonzero().squeeze(1)
        log_probs[stuck, self.eos] = 0.0
        return log_probs.logsumexp(1, keepdim=True)


def processors_of(ids: SpecialIds, options: DecodingOptions, given: Given, device: torch.device) -> Processors:
    """The rules that decoding a batch has to keep."""
    rules: list[Processor] = []
    if given.allowed:
        rules.append(AllowedPieces(_filled_up([(*row, ids.eos) for row in given.allowed], ids.eos, device)))
    if options.no_repeat_ngram:
        rules.append(NoRepeatNgram(options.no_repeat_ngram))
    if options.min_length:
        rules.append(MinLength(options.min_length, ids.eos))
    if any(given.prefixes):
        rules.append(ForcedPrefix(_filled_up(given.prefixes, FREE, device)))
    return Processors(torch.tensor(ids.never_written, dtype=torch.long, device=device), ids.eos, tuple(rules))


def _filled_up(rows: Sequence[Sequence[int]], filling: int, device: torch.device) -> Int[Tensor, "rows longest"]:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows], device=device)
