"""Iterative refinement: a decoder that reads its own last output and writes every word again (Lee et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.layers import layers_of
from seqdistill.models.nonautoregressive.configs import INATConfig
from seqdistill.models.nonautoregressive.shared.canvas import most_probable, rewritten, words_of
from seqdistill.models.nonautoregressive.shared.copying import CopiedSource, word_vectors
from seqdistill.models.nonautoregressive.shared.lengths import LengthPredictor
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import Loss, label_smoothed_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds


class INAT(Model):
    """The first iteration reads copies of the source, every later one the output of the one before.

    All iterations share one decoder, as in Zhou et al. (2020). EOS is not written.
    """

    traits = FAMILIES["inat"].traits
    iterations = 10
    words: Tensor
    """Ids that can be written."""

    def __init__(self, config: INATConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.product_input = ProductInput()
        self.length = LengthPredictor(config.dim, config.length)
        self.longest_target = self.length.longest
        words = [token for token in range(config.target_vocab) if token not in target_ids.no_words]
        if not words:
            raise UserError(f"target_vocab is {config.target_vocab}, special symbols all: give a larger vocabulary")
        self.register_buffer("words", torch.tensor(words), persistent=False)

    def encode(self, source: Int[Tensor, "batch source"]) -> CopiedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        states = self.encoder(self.source_embedding(source), mask)
        return CopiedSource(states, word_vectors(source, self.source_embedding), mask)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of the target's words in each of `train_iterations` iterations, pooled: a target of n
        words has that many times n labels. EOS is left out; label smoothing is for words.

        Between iterations each sentence's next input is, with probability `denoising`, its corrupted target, otherwise
        the model's most probable words, with no gradient through them (section 3). All is drawn from torch's global
        generator. Lengths: see `LengthPredictor.loss`.

        Raises:
            UserError: a target whose length has no class.
        """
        words = words_of(batch.target, self.target_ids)
        mask, weight, padding = words != self.target_ids.pad, self.target_embedding.weight, self.target_ids.pad
        lengths = mask.sum(1)
        memory = self.encode(batch.source)
        length_loss = self.length.loss(memory.states, memory.mask, lengths, batch.index)
        total, count = words.new_zeros((), dtype=length_loss.dtype), 0
        # (batch, target, dim): copies of the source in the first iteration, words of the target side in all others.
        vectors = memory.stretched(lengths)
        for iteration in range(self.config.train_iterations):
            states = self._states(vectors, mask, memory)
            spelled = label_smoothed_nll(states, weight, words, padding=padding, label_smoothing=label_smoothing)
            total, count = total + spelled.total + (length_loss * lengths).sum(), count + spelled.count
            if iteration + 1 < self.config.train_iterations:
                vectors = word_vectors(self._next_input(words, states), self.target_embedding)
        return Loss(total, count)

    def start(self, memory: CopiedSource, *, candidates: int) -> Canvas:
        """Masks in the most probable lengths; see `LengthPredictor.start`."""
        return self.length.start(memory.states, memory.mask, candidates=candidates, ids=self.target_ids)

    def refine(
        self,
        canvas: Canvas,
        memory: CopiedSource,
        *,
        step: int,
        iterations: int,  # noqa: ARG002
        limits: Int[Tensor, " rows"],  # noqa: ARG002
        penalty: float,  # noqa: ARG002
    ) -> Canvas:
        """One pass: the most probable word at every position, given the canvas (in step 0, given the source)."""
        mask = canvas.tokens != self.target_ids.pad
        copied = step == 0
        vectors = memory.stretched(mask.sum(1)) if copied else word_vectors(canvas.tokens, self.target_embedding)
        states = self._states(vectors, mask, memory)
        return rewritten(canvas, mask, states, self.target_embedding.weight, self.target_ids)

    def _states(
        self,
        vectors: Float[Tensor, "rows target dim"],
        mask: Bool[Tensor, "rows target"],
        memory: CopiedSource,
    ) -> Float[Tensor, "rows target dim"]:
        """The decoder's output for these word vectors."""
        inputs = vectors + self.target_embedding.positions_to(vectors.shape[1])
        return self.product_input(self.decoder(inputs, mask, memory.states, memory.mask, causal=False))

    @torch.no_grad()
    def _next_input(
        self, words: Int[Tensor, "batch target"], states: Float[Tensor, "batch target dim"]
    ) -> Int[Tensor, "batch target"]:
        """Corrupted targets for some sentences, predictions for the others."""
        ids, weight = self.target_ids, self.target_embedding.weight
        mask = words != ids.pad
        # (real words) back to (batch, target), row by row; padding stays.
        predicted = words.masked_scatter(mask, most_probable(states[mask], weight, forbidden=ids.no_words)[0])
        corrupted = corrupt(words, share=self.config.corruption, vocab=self.words, padding=ids.pad)
        denoised = torch.rand(len(words), 1, device=words.device) < self.config.denoising
        return torch.where(denoised, corrupted, predicted)


def corrupt(
    words: Int[Tensor, "rows length"], *, share: float, vocab: Int[Tensor, " words"], padding: int
) -> Int[Tensor, "rows length"]:
    """From left to right, with probability `share` a word is corrupted: a third each is replaced by a random word of
    the vocabulary, repeated over the next word, or swapped with it.

    The last word has no next one, so it can be replaced only. Padding stays where it is.
    """
    # One column after the other, as a word that was repeated or swapped to the right may be so once more: a b c becomes
    # a a a where the first two are repeated, and b c a where they are swapped. All rows at once; draws come first, so
    # they do not depend on what happens.
    # Uniform on [0, 1 / share): below 1 with probability `share`, and there each third is as probable as the others.
    kind = torch.rand(words.shape, device=words.device) / max(share, 1e-9)  # 1 and more: left alone
    random = vocab[torch.randint(len(vocab), words.shape, device=words.device)]
    mask = words != padding
    has_next = F.pad(mask[:, 1:], (0, 1))
    replaced = mask & (kind < 1 / 3)
    repeated = has_next & (kind >= 1 / 3) & (kind < 2 / 3)
    swapped = has_next & (kind >= 2 / 3) & (kind < 1)
    columns = list(words.unbind(1))
    for place in range(words.shape[1]):
        word, chosen = columns[place], replaced[:, place]
        if place + 1 < words.shape[1]:
            after = columns[place + 1]
            columns[place] = torch.where(swapped[:, place], after, word)
            columns[place + 1] = torch.where(repeated[:, place] | swapped[:, place], word, after)
        columns[place] = torch.where(chosen, random[:, place], columns[place])
    return torch.stack(columns, 1)
