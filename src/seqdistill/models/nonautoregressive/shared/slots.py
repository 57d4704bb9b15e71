"""Slots, the places between words where others can be inserted, and sentences that grow and shrink there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.vocabulary.ids import SpecialIds


def empty_canvas(rows: int, *, candidates: int, device: torch.device) -> Canvas:
    """Rows without a token: what models begin with that find the length by themselves.

    Raises:
        UserError: candidates other than 1, as there are no lengths to try.
    """
    if candidates != 1:
        raise UserError(
            f"this model finds the length while it inserts, so there is one candidate a sentence, but beam is "
            f"{candidates}: decode with beam 1"
        )
    none = torch.zeros(rows, 0, dtype=torch.int64, device=device)
    zeros = torch.zeros(rows, device=device)
    return Canvas(none, none.float(), zeros, zeros.long())


def bracketed(tokens: Int[Tensor, "rows length"], ids: SpecialIds) -> Int[Tensor, "rows length+2"]:
    """BOS (without one: EOS) before and EOS after the tokens of each row: then every place where a token can be
    inserted has two neighbours."""
    # 7 8 PAD becomes BOS 7 8 EOS PAD: EOS goes to the column after the last token, which differs by row.
    ends = pad(tokens, (1, 1), value=ids.pad)
    ends[:, 0] = ids.eos if ids.bos is None else ids.bos
    return ends.scatter_(1, (tokens != ids.pad).sum(1, keepdim=True) + 1, ids.eos)


def neighbours(states: Float[Tensor, "rows words dim"]) -> Float[Tensor, "rows words-1 2*dim"]:
    """The states at both sides of each slot, one after the other; slot i of a row of n tokens, 0 <= i <= n, lies before
    its token i."""
    return torch.cat([states[:, :-1], states[:, 1:]], dim=2)


def slots(tokens: Int[Tensor, "rows length"], *, padding: int) -> Bool[Tensor, "rows length+1"]:
    """Which slots exist: a row has one more than it has tokens."""
    return pad(tokens != padding, (1, 0), value=True)


def compacted(
    values: Shaped[Tensor, "rows length"], keep: Bool[Tensor, "rows length"], *, padding: int = 0
) -> Shaped[Tensor, "rows kept"]:
    """Moves what is kept to the left, without gaps; padding follows.

    >>> compacted(torch.tensor([[7, 8, 9]]), torch.tensor([[True, False, True]]))
    tensor([[7, 9]])
    """
    # What is not kept is written to a column of its own, `width`, which is cut off: rows lose different numbers of
    # tokens, and a scatter needs a place for each. `with_room` does the same with padding.
    width = int(keep.sum(1).max()) if keep.numel() else 0
    places = torch.where(keep, keep.cumsum(1) - 1, width)
    return values.new_full((len(values), width + 1), padding).scatter_(1, places, values)[:, :width]


def kept(canvas: Canvas, keep: Bool[Tensor, "rows length"], *, padding: int) -> Canvas:
    """The canvas with only those tokens."""
    tokens = compacted(canvas.tokens, keep, padding=padding)
    return canvas._replace(tokens=tokens, log_probs=compacted(canvas.log_probs, keep))


def with_room(canvas: Canvas, counts: Int[Tensor, "rows slots"], ids: SpecialIds) -> Canvas:
    """Inserts `counts[row, slot]` MASK in each slot, with a log-probability of 0; counts are 0 where there is no slot.

    Tokens 7 8 and counts 1 0 2 give _ 7 8 _ _: token i moves right by what is inserted in slots 0 to i.
    """
    mask = canvas.tokens != ids.pad
    lengths = mask.sum(1) + counts.sum(1)
    width = int(lengths.max())
    places = torch.arange(canvas.tokens.shape[1], device=counts.device) + counts.cumsum(1)[:, :-1]
    places = torch.where(mask, places, width)
    fresh = torch.where(torch.arange(width + 1, device=counts.device) < lengths[:, None], ids.placeholder, ids.pad)
    return canvas._replace(
        tokens=fresh.scatter_(1, places, canvas.tokens)[:, :width],
        log_probs=canvas.log_probs.new_zeros(fresh.shape).scatter_(1, places, canvas.log_probs)[:, :width],
    )


def filled(
    canvas: Canvas, tokens: Int[Tensor, " masks"], log_probs: Float[Tensor, " masks"], ids: SpecialIds
) -> Canvas:
    """Writes over every MASK, row by row."""
    masked = canvas.tokens == ids.mask
    return canvas._replace(
        tokens=canvas.tokens.masked_scatter(masked, tokens),
        log_probs=canvas.log_probs.masked_scatter(masked, log_probs.to(canvas.log_probs.dtype)),
    )


def capped(
    counts: Int[Tensor, "rows slots"], log_probs: Float[Tensor, "rows slots"], room: Int[Tensor, " rows"]
) -> Int[Tensor, "rows slots"]:
    """The counts, cut so that each row gets no more than `room`: the most probable slots keep theirs, ties go left, and
    the last one that fits in part gets what is left.

    Slot 2 is the more probable of those that insert; its two tokens leave room for two of slot 0's three:

        >>> capped(torch.tensor([[3, 0, 2]]), torch.tensor([[-2.0, -0.1, -1.0]]), torch.tensor([4]))
        tensor([[2, 0, 2]])
    """
    # In order of probability, a slot may have what is left of `room` after all slots before it: room less the sum up
    # to it, plus its own. Slots that insert nothing come last, so that they take no part in ties.
    order = log_probs.masked_fill(counts == 0, -torch.inf).argsort(dim=1, descending=True, stable=True)
    wanted = counts.gather(1, order)
    granted = torch.minimum(wanted, (room[:, None] - wanted.cumsum(1) + wanted).clamp(min=0))
    return torch.zeros_like(counts).scatter_(1, order, granted)
