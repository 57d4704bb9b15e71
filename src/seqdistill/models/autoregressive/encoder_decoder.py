"""What autoregressive models share: logits and loss; and those with a Transformer encoder: reading the source."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.models.interface import Model
from seqdistill.nn.layers import Embedding, Encoder
from seqdistill.nn.losses import Loss, label_smoothed_nll
from seqdistill.nn.output import OutputLayer


class StatesModel(Model):
    """Logits and loss of a model whose states times the transpose of its output layer are the logits."""

    def forward(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of every token of a target, given what precedes it (teacher forcing)."""
        return F.linear(self.states(source, target), self.output_weight)

    def states(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target width"]:
        """States that predict every token of a target."""
        raise NotImplementedError

    @property
    def output_weight(self) -> Float[Tensor, "vocab width"]:
        """The output layer."""
        raise NotImplementedError

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of the batch's labels, or of its targets (nats, padding excluded)."""
        labels = batch.target if batch.labels is None else batch.labels
        states = self.states(batch.source, batch.target)
        padding = self.target_ids.pad
        return label_smoothed_nll(states, self.output_weight, labels, padding=padding, label_smoothing=label_smoothing)


class EncoderDecoder(StatesModel):
    """An encoder, and a decoder that a subclass brings; the output layer is the target embedding, transposed."""

    source_embedding: Embedding
    target_embedding: Embedding
    encoder: Encoder
    output: OutputLayer

    def states(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target width"]:
        """States that predict every token of a target: times the transpose of `output_weight` they give the logits."""
        return self.continued(*self.read(source), target)

    def read(
        self, source: Int[Tensor, "batch source"]
    ) -> tuple[Float[Tensor, "batch source dim"], Bool[Tensor, "batch source"]]:
        """The encoder's states, and a mask that is False where the source is padding."""
        mask = source != self.source_ids.pad
        return self.encoder(self.source_embedding(source), mask), mask

    def continued(
        self,
        memory: Float[Tensor, "batch source dim"],
        mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target width"]:
        """As `states`, from what `read` returned."""
        raise NotImplementedError

    @property
    def output_weight(self) -> Float[Tensor, "vocab dim"]:
        """The output layer: states times its transpose give the logits."""
        return self.output.weight(self.target_embedding.weight)
