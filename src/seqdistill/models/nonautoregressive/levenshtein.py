"""Levenshtein Transformer: deletes words, inserts placeholders, fills them, until nothing changes (Gu et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.layers import layers_of
from seqdistill.models.nonautoregressive.configs import LevenshteinTransformerConfig
from seqdistill.models.nonautoregressive.shared.canvas import EncodedSource, most_probable, words_of
from seqdistill.models.nonautoregressive.shared.edits import (
    edit_path,
    placeholder_counts,
    random_part,
    with_placeholders,
)
from seqdistill.models.nonautoregressive.shared.slots import (
    bracketed,
    capped,
    compacted,
    empty_canvas,
    filled,
    kept,
    neighbours,
    slots,
    with_room,
)
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import Loss, exact, label_smoothed_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds

PLACEHOLDER_CLASSES = 256
"""0 .. 255 placeholders go between two neighbours."""


class LevenshteinTransformer(Model):
    """One decoder, run up to three times an iteration, each time read by another head (section 3.1).

    The three runs share all weights but the heads', the paper's default; it also tries a decoder each, and heads on
    lower layers (early exit), which are not here. The word head is the target embedding, transposed.
    """

    traits = FAMILIES["levt"].traits
    longest_target = PLACEHOLDER_CLASSES - 1
    iterations = 10

    def __init__(
        self, config: LevenshteinTransformerConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS
    ) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.product_input = ProductInput()
        self.deletion = nn.Linear(config.dim, 2)
        self.placeholders = nn.Linear(2 * config.dim, PLACEHOLDER_CLASSES)

    def encode(self, source: Int[Tensor, "batch source"]) -> EncodedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        return EncodedSource(self.encoder(self.source_embedding(source), mask), mask)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of the expert's edits (section 3.2), summed over labels of all heads alike.

        Placeholders and words are learned from a random part of the target; deletions from the target with all that is
        missing in it filled in by the word head, most probable words, without gradient. So the labels of a target of n
        words are 2n + 1. What is counted are the n words, without EOS. Smoothing is for words.

        As the authors' code: section 3.2 also mixes in states that a deletion left, or that are empty.

        Of a target a b c d the part b d is kept: placeholders 1, 1, 0 are learned in its three slots; then, of _ b _ d,
        the words a and c; then, if the word head would write b b c d, to delete the first b: 3 + 2 + 4 labels.

        Raises:
            UserError: a target of more words than placeholders between two neighbours can be.
        """
        words = words_of(batch.target, self.target_ids)
        ids = self.target_ids
        lengths = (words != ids.pad).sum(1)
        _check_lengths(lengths, batch.index)
        memory = self.encode(batch.source)
        # The expert's edits from the part to the target: `places` says where each kept word stands in the target.
        part = compacted(words, random_part(words, padding=ids.pad), padding=ids.pad)
        places = edit_path(part, words, padding=ids.pad)
        masked = with_placeholders(words, places, ids)
        inserted = self._placeholder_loss(part, placeholder_counts(places, lengths), memory)
        empty, weight = masked == ids.mask, self.target_embedding.weight
        # States of BOS and of the last column are cut off: (batch, target, dim), then one row for each placeholder.
        hidden = self.product_input(self._states(masked, memory)[:, 1:-1][empty])
        spelled = label_smoothed_nll(hidden, weight, words[empty], padding=ids.pad, label_smoothing=label_smoothing)
        # What the word head would write is what it must learn to delete: its own errors, not random words.
        found, _ = most_probable(hidden.detach(), weight.detach(), forbidden=ids.no_words)
        guessed = masked.masked_scatter(empty, found)
        deleted = self._deletion_loss(guessed, edit_path(guessed, words, padding=ids.pad) < 0, memory)
        return Loss(inserted + spelled.total + deleted, int(lengths.sum()))

    def start(self, memory: EncodedSource, *, candidates: int) -> Canvas:
        """Nothing: one empty row a sentence.

        Raises:
            UserError: candidates other than 1.
        """
        return empty_canvas(len(memory.states), candidates=candidates, device=memory.states.device)

    def refine(
        self,
        canvas: Canvas,
        memory: EncodedSource,
        *,
        step: int,  # noqa: ARG002
        iterations: int,  # noqa: ARG002
        limits: Int[Tensor, " rows"],
        penalty: float,
    ) -> Canvas:
        """Deletes, inserts placeholders, fills them (section 3.3): each a decoder run of the rows it can concern.

        Rows without words have nothing to delete, rows as long as their limit get no placeholders, and rows without
        placeholders no words; such runs are not made, and not counted. `penalty` is taken from the log-probability of
        0 placeholders.
        """
        return self._fill(self._insert(self._delete(canvas, memory), memory, limits, penalty), memory)

    def _states(self, tokens: Int[Tensor, "rows length"], memory: EncodedSource) -> Float[Tensor, "rows length+2 dim"]:
        """The decoder's states of BOS, the tokens of each row, and EOS after its last."""
        ends = bracketed(tokens, self.target_ids)
        mask = ends != self.target_ids.pad
        return self.decoder(self.target_embedding(ends), mask, memory.states, memory.mask, causal=False)

    def _placeholder_loss(
        self, tokens: Int[Tensor, "rows length"], counts: Int[Tensor, "rows slots"], memory: EncodedSource
    ) -> Float[Tensor, ""]:
        there = slots(tokens, padding=self.target_ids.pad)
        logits = self.placeholders(neighbours(self._states(tokens, memory))[there])
        return F.cross_entropy(logits, counts[there], reduction="sum")

    def _deletion_loss(
        self, tokens: Int[Tensor, "rows length"], deleted: Bool[Tensor, "rows length"], memory: EncodedSource
    ) -> Float[Tensor, ""]:
        mask = tokens != self.target_ids.pad
        logits = self.deletion(self._states(tokens, memory)[:, 1:-1][mask])
        return F.cross_entropy(logits, deleted[mask].long(), reduction="sum")

    def _delete(self, canvas: Canvas, memory: EncodedSource) -> Canvas:
        keep = canvas.tokens != self.target_ids.pad
        rows = keep.any(1).nonzero().squeeze(1)
        if not len(rows):
            return canvas
        states = self._states(canvas.tokens[rows], memory.select(rows))[:, 1:-1]
        # Class 0 keeps, class 1 deletes; `&=` leaves padding out.
        keep[rows] &= self.deletion(states).argmax(-1) == 0
        return _counted(kept(canvas, keep, padding=self.target_ids.pad), rows)

    def _insert(self, canvas: Canvas, memory: EncodedSource, limits: Int[Tensor, " rows"], penalty: float) -> Canvas:
        padding = self.target_ids.pad
        room = limits - (canvas.tokens != padding).sum(1)
        rows = (room > 0).nonzero().squeeze(1)
        if not len(rows):
            return canvas
        tokens = canvas.tokens[rows]
        logits = self.placeholders(neighbours(self._states(tokens, memory.select(rows))))
        log_probs = exact(logits).log_softmax(-1)
        log_probs[..., 0] -= penalty
        best = log_probs.max(-1)
        # (rows, slots) of the whole canvas; rows that have no room insert nothing.
        counts = torch.zeros_like(slots(canvas.tokens, padding=padding), dtype=torch.int64)
        counts[rows] = capped(best.indices * slots(tokens, padding=padding), best.values, room[rows])
        # A row is counted if it was run, also if it inserts nothing.
        return _counted(with_room(canvas, counts, self.target_ids), rows)

    def _fill(self, canvas: Canvas, memory: EncodedSource) -> Canvas:
        ids = self.target_ids
        masked = canvas.tokens == ids.mask
        rows = masked.any(1).nonzero().squeeze(1)
        if not len(rows):
            return canvas
        hidden = self.product_input(self._states(canvas.tokens[rows], memory.select(rows))[:, 1:-1][masked[rows]])
        words, log_probs = most_probable(hidden, self.target_embedding.weight, forbidden=ids.no_words)
        return _counted(filled(canvas, words, log_probs, ids), rows)


def _counted(canvas: Canvas, rows: Int[Tensor, " run"]) -> Canvas:
    """With one decoder run more for these rows."""
    return canvas._replace(passes=canvas.passes.index_add(0, rows, torch.ones_like(rows)))


def _check_lengths(lengths: Int[Tensor, " batch"], index: Int[Tensor, " batch"]) -> None:
    if len(outside := (lengths >= PLACEHOLDER_CLASSES).nonzero()):
        row = int(outside[0])
        raise UserError(
            f"line {int(index[row]) + 1} of the training data: {int(lengths[row])} target tokens, but this model "
            f"inserts at most {PLACEHOLDER_CLASSES - 1} at a place; leave such pairs out with max_positions"
        )
