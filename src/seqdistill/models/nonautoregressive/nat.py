"""Vanilla non-autoregressive Transformer: a length, then every word at once (Gu et al. 2018; Zhou et al. 2020, A.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.layers import layers_of
from seqdistill.models.nonautoregressive.configs import NATConfig
from seqdistill.models.nonautoregressive.shared.canvas import rewritten, words_of
from seqdistill.models.nonautoregressive.shared.copying import CopiedSource, word_vectors
from seqdistill.models.nonautoregressive.shared.lengths import LengthPredictor
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import Loss, label_smoothed_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds


class NAT(Model):
    """Words independent of each other given the source and the length; one pass. EOS is not written."""

    traits = FAMILIES["nat"].traits
    iterations = 1

    def __init__(self, config: NATConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.product_input = ProductInput()
        self.length = LengthPredictor(config.dim, config.length)
        self.longest_target = self.length.longest

    def encode(self, source: Int[Tensor, "batch source"]) -> CopiedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        states = self.encoder(self.source_embedding(source), mask)
        return CopiedSource(states, word_vectors(source, self.source_embedding), mask)

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of the word at every position of outputs with these lengths, at least 1 each."""
        return F.linear(self._states(self.encode(source), lengths), self.target_embedding.weight)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of words, EOS left out, plus that of lengths (see `LengthPredictor.loss`), which
        counts once for every word of its sentence; label smoothing is for words.

        Raises:
            UserError: a target whose length has no class.
        """
        words = words_of(batch.target, self.target_ids)
        lengths = (words != self.target_ids.pad).sum(1)
        memory = self.encode(batch.source)
        length_loss = self.length.loss(memory.states, memory.mask, lengths, batch.index)
        spelled = label_smoothed_nll(
            self._states(memory, lengths),
            self.target_embedding.weight,
            words,
            padding=self.target_ids.pad,
            label_smoothing=label_smoothing,
        )
        return Loss(spelled.total + (length_loss * lengths).sum(), spelled.count)

    def start(self, memory: CopiedSource, *, candidates: int) -> Canvas:
        """Masks in the most probable lengths; see `LengthPredictor.start`."""
        return self.length.start(memory.states, memory.mask, candidates=candidates, ids=self.target_ids)

    def refine(
        self,
        canvas: Canvas,
        memory: CopiedSource,
        *,
        step: int,  # noqa: ARG002
        iterations: int,  # noqa: ARG002
        limits: Int[Tensor, " rows"],  # noqa: ARG002
        penalty: float,  # noqa: ARG002
    ) -> Canvas:
        """The most probable word at every position, whatever the canvas holds; every iteration gives the same."""
        mask = canvas.tokens != self.target_ids.pad
        states = self._states(memory, mask.sum(1))
        return rewritten(canvas, mask, states, self.target_embedding.weight, self.target_ids)

    def _states(self, memory: CopiedSource, lengths: Int[Tensor, " rows"]) -> Float[Tensor, "rows target dim"]:
        """The decoder's output for copies of the source stretched to these lengths, which are at least 1."""
        copies = memory.stretched(lengths)
        # A row of length 0 keeps one position: attention to no position at all has no value.
        mask = torch.arange(copies.shape[1], device=lengths.device) < lengths.clamp(min=1)[:, None]
        inputs = copies + self.target_embedding.positions_to(copies.shape[1])
        return self.product_input(self.decoder(inputs, mask, memory.states, memory.mask, causal=False))
