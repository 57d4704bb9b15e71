"""Conditional masked language model, decoded by mask-predict (Ghazvininejad et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.layers import layers_of
from seqdistill.models.nonautoregressive.configs import CMLMConfig
from seqdistill.models.nonautoregressive.shared.canvas import EncodedSource, rewritten, words_of
from seqdistill.models.nonautoregressive.shared.lengths import LengthPredictor
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import Loss, label_smoothed_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds


class CMLM(Model):
    """Predicts the masked words of a target from the source and from the words that are left. EOS is not written."""

    traits = FAMILIES["cmlm"].traits
    iterations = 10

    def __init__(self, config: CMLMConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.product_input = ProductInput()
        self.length = LengthPredictor(config.dim, config.length)
        self.longest_target = self.length.longest

    def encode(self, source: Int[Tensor, "batch source"]) -> EncodedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        return EncodedSource(self.encoder(self.source_embedding(source), mask), mask)

    def forward(
        self, source: Int[Tensor, "batch source"], tokens: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of the word at every position of targets that are masked in part."""
        return F.linear(self._states(tokens, self.encode(source)), self.target_embedding.weight)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of the words that are masked at random, which are what is counted (section 2.1).

        EOS is left out; label smoothing is for words. Lengths: see `LengthPredictor.loss`.

        Raises:
            UserError: a target whose length has no class.
        """
        words = words_of(batch.target, self.target_ids)
        return self.loss_where(
            batch, words, random_masks(words, padding=self.target_ids.pad), label_smoothing=label_smoothing
        )

    def loss_where(
        self,
        batch: Batch,
        words: Int[Tensor, "batch target"],
        masked: Bool[Tensor, "batch target"],
        *,
        label_smoothing: float,
    ) -> Loss:
        """The loss when these of the target's words are masked."""
        memory, ids = self.encode(batch.source), self.target_ids
        length_loss = self.length.loss(memory.states, memory.mask, (words != ids.pad).sum(1), batch.index)
        spelled = label_smoothed_nll(
            self._states(words.masked_fill(masked, ids.placeholder), memory),
            self.target_embedding.weight,
            # Labels are the masked words; all others become padding, which no loss counts.
            words.masked_fill(~masked, ids.pad),
            padding=ids.pad,
            label_smoothing=label_smoothing,
        )
        # A length counts once for each label of its sentence (see `LengthPredictor.loss`).
        return Loss(spelled.total + (length_loss * masked.sum(1)).sum(), spelled.count)

    def start(self, memory: EncodedSource, *, candidates: int) -> Canvas:
        """Masks in the most probable lengths; see `LengthPredictor.start`."""
        return self.length.start(memory.states, memory.mask, candidates=candidates, ids=self.target_ids)

    def refine(
        self,
        canvas: Canvas,
        memory: EncodedSource,
        *,
        step: int,
        iterations: int,
        limits: Int[Tensor, " rows"],  # noqa: ARG002
        penalty: float,  # noqa: ARG002
    ) -> Canvas:
        """Mask-predict (section 3.1): masks the least probable words and predicts them again, given the others.

        Of n words, floor(n * (iterations - step) / iterations) are masked, so all in step 0. The other words keep their
        log-probabilities. A row with nothing left to mask stays as it is, and its passes are not counted on.
        """
        # Of 10 words in 4 iterations 10, 7, 5 and 2 are masked: integers, as 0.3 * 10 would not be 3.
        ids = self.target_ids
        lengths = (canvas.tokens != ids.pad).sum(1)
        masked = least_probable(canvas, lengths * (iterations - step) // iterations, padding=ids.pad)
        if not masked.any():
            return canvas
        states = self._states(canvas.tokens.masked_fill(masked, ids.placeholder), memory)
        return rewritten(canvas, masked, states, self.target_embedding.weight, ids)

    def _states(self, tokens: Int[Tensor, "rows target"], memory: EncodedSource) -> Float[Tensor, "rows target dim"]:
        mask = tokens != self.target_ids.pad
        states = self.decoder(self.target_embedding(tokens), mask, memory.states, memory.mask, causal=False)
        return self.product_input(states)


def random_masks(words: Int[Tensor, "rows length"], *, padding: int) -> Bool[Tensor, "rows length"]:
    """Masks k words of each row of n, k uniform on 1 .. n; drawn from torch's global generator (section 2.1)."""
    mask = words != padding
    lengths = mask.sum(1)
    # Below, a row without words has number 1 and length 0: the minimum masks none.
    numbers = (torch.rand(len(words), device=words.device) * lengths).long() + 1
    # Random numbers are below 1: padding, at 2, is last in every order.
    order = torch.rand(words.shape, device=words.device).masked_fill(~mask, 2.0)
    return _first(order, torch.minimum(numbers, lengths))


def least_probable(canvas: Canvas, numbers: Int[Tensor, " rows"], *, padding: int) -> Bool[Tensor, "rows length"]:
    """The `numbers[i]` least probable words of row i; ties go left."""
    return _first(canvas.log_probs.masked_fill(canvas.tokens == padding, torch.inf), numbers)


def _first(values: Float[Tensor, "rows length"], numbers: Int[Tensor, " rows"]) -> Bool[Tensor, "rows length"]:
    """The `numbers[i]` places of row i with the lowest values; ties go left."""
    # Sorting the order of a row gives each place its rank in it: values .3 .1 .2 have the order 1 2 0, ranks 2 0 1.
    ranks = values.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks < numbers[:, None]
