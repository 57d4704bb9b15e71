"""Insertion Transformer: words are inserted into every gap of the sentence at once (Stern et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.layers import layers_of
from seqdistill.models.nonautoregressive.configs import InsertionTransformerConfig
from seqdistill.models.nonautoregressive.shared.canvas import EncodedSource, words_of
from seqdistill.models.nonautoregressive.shared.edits import placeholder_counts, random_part
from seqdistill.models.nonautoregressive.shared.slots import (
    bracketed,
    capped,
    compacted,
    empty_canvas,
    filled,
    neighbours,
    slots,
    with_room,
)
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import Loss, exact, label_smoothed_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds


class SlotTargets(NamedTuple):
    """What is missing between the tokens that were kept of a target."""

    missing: Bool[Tensor, "rows target"]
    """Target tokens that were not kept."""
    slot: Int[Tensor, "rows target"]
    """The slot each of them belongs to: the number of kept tokens before it."""
    counts: Int[Tensor, "rows kept+1"]
    """Missing tokens of each slot, repeated words counted each time; 0 where there is no slot."""
    there: Bool[Tensor, "rows kept+1"]
    """Which slots there are: one more than kept tokens."""


class InsertionTransformer(Model):
    """Each slot between two neighbours predicts, from their two states, a word to insert there or the end of the slot.

    Trained with the uniform slot loss (section 4): all words missing in a slot are equally good insertions. Parallel
    decoding (section 5): each iteration inserts the most probable word of every slot that does not predict its end.
    """

    traits = FAMILIES["inst"].traits
    longest_target = None
    iterations = 10

    def __init__(
        self, config: InsertionTransformerConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS
    ) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.product_input = ProductInput()
        self.slot = nn.Linear(2 * config.dim, config.dim)
        nn.init.xavier_uniform_(self.slot.weight)
        nn.init.zeros_(self.slot.bias)

    def encode(self, source: Int[Tensor, "batch source"]) -> EncodedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        return EncodedSource(self.encoder(self.source_embedding(source), mask), mask)

    def forward(
        self, source: Int[Tensor, "batch source"], tokens: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length+1 vocab"]:
        """Logits of what is missing before each token of sentences in the making, and after the last."""
        return F.linear(self._slots(tokens, self.encode(source)), self.target_embedding.weight)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """The uniform slot loss of a random part of each target; counted are its words, without EOS.

        Smoothing is over the vocabulary, and so over the end of a slot too.
        """
        words = words_of(batch.target, self.target_ids)
        padding = self.target_ids.pad
        part = random_part(words, padding=padding)
        hidden = self._slots(compacted(words, part, padding=padding), self.encode(batch.source))
        weight = self.target_embedding.weight
        total = slot_loss(hidden, weight, words, part, self.target_ids, label_smoothing=label_smoothing)
        return Loss(total, int((words != padding).sum()))

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
        """One decoder run: a word into every slot that does not predict its end; if not all fit, the most probable.

        `penalty` is taken from the log-probability of the end of a slot.
        """
        ids = self.target_ids
        there = slots(canvas.tokens, padding=ids.pad)
        logits = exact(F.linear(self._slots(canvas.tokens, memory), self.target_embedding.weight))
        logits[..., list(ids.never_written)] = -torch.inf
        log_probs = logits.log_softmax(-1)
        log_probs[..., ids.eos] -= penalty
        # (rows, slots, vocab) -> (rows, slots)
        best, words = log_probs.max(-1)
        wanted = (there & (words != ids.eos)).long()
        counts = capped(wanted, best, limits - (canvas.tokens != ids.pad).sum(1))
        inserted = counts == 1
        canvas = filled(with_room(canvas, counts, ids), words[inserted], best[inserted], ids)
        return canvas._replace(passes=canvas.passes + 1)

    def _slots(self, tokens: Int[Tensor, "rows length"], memory: EncodedSource) -> Float[Tensor, "rows length+1 dim"]:
        ends = bracketed(tokens, self.target_ids)
        mask = ends != self.target_ids.pad
        states = self.decoder(self.target_embedding(ends), mask, memory.states, memory.mask, causal=False)
        return self.product_input(self.slot(neighbours(states)))


def slot_targets(words: Int[Tensor, "rows target"], part: Bool[Tensor, "rows target"], *, padding: int) -> SlotTargets:
    """The words that each slot misses when only a part of the words is kept.

    Of four words the second is there: slot 0 misses one, slot 1 two.

        >>> words, part = torch.tensor([[11, 12, 13, 14]]), torch.tensor([[False, True, False, False]])
        >>> found = slot_targets(words, part, padding=0)
        >>> found.slot.tolist(), found.counts.tolist()
        ([[0, 1, 1, 1]], [[1, 2]])
    """
    # Places count from 1 so that compacted's zeros become -1, which is how `placeholder_counts` knows padding.
    places = torch.arange(1, words.shape[1] + 1, device=words.device).expand(words.shape)
    counts = placeholder_counts(compacted(places, part) - 1, (words != padding).sum(1))
    there = torch.arange(counts.shape[1], device=words.device) <= part.sum(1, keepdim=True)
    return SlotTargets((words != padding) & ~part, part.cumsum(1), counts, there)


def slot_loss(
    hidden: Float[Tensor, "rows slots dim"],
    weight: Float[Tensor, "vocab dim"],
    words: Int[Tensor, "rows target"],
    part: Bool[Tensor, "rows target"],
    ids: SpecialIds,
    *,
    label_smoothing: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(hidden weight') to the uniform distribution over what a slot misses, in nats.

    A sentence's loss is the mean over its slots, as in the paper (section 4), times its words; pooled over the batch,
    as in public code, the few slots of short parts would count for little.

    A slot is first charged for the first word it misses. The rest is linear in the logits: how far that word's lies
    above the mean of all words it misses, which needs the logits of these words only, and no distribution over all.
    """
    # For m missing words with logits z_1 ... z_m: log sum exp z - mean z_i = (log sum exp z - z_1) + mean (z_1 - z_i).
    # The first part is `charged`, by the chunked output loss; the second is `gaps`, each a product of one slot's state
    # with the difference of two word vectors. A word that is missing twice has two terms, so it counts twice.
    # Smoothing takes the share e of the target away from z_i and z_1 alike: the gaps keep 1 - e.
    missing, slot, counts, there = slot_targets(words, part, padding=ids.pad)
    shares = ((words != ids.pad).sum(1) / there.sum(1))[:, None].expand(there.shape)
    # Where a slot's first missing word stands: of a b c d only b was kept, so counts are 1 2, counts + 1 sum up to 2 5,
    # and the slots start at 0 and 2, with a and c. The column that `words` is padded with is for slots at the end.
    starts = F.pad((counts + 1).cumsum(1)[:, :-1], (1, 0)).clamp(max=words.shape[1])  # after a kept word, the next
    first = torch.where(counts > 0, F.pad(words, (0, 1)).gather(1, starts), ids.eos).masked_fill(~there, ids.pad)
    charged = label_smoothed_nll(hidden, weight, first, padding=ids.pad, label_smoothing=label_smoothing, shares=shares)
    row, place = missing.nonzero(as_tuple=True)
    # One entry for each missing word; `at` is its slot among all slots of the batch, laid out flat.
    at = row * hidden.shape[1] + slot[row, place]
    share = (shares / counts.clamp(min=1)).flatten()[at]
    above = F.embedding(first.flatten()[at], weight) - F.embedding(words[row, place], weight)
    gaps = (hidden.flatten(0, 1).index_select(0, at) * above).sum(1)
    return charged.total + (1 - label_smoothing) * (share.to(gaps.dtype) @ gaps)
