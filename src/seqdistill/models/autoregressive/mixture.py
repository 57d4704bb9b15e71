"""A mixture of experts for translation, with hard assignment and a uniform prior (hMoEup, Shen et al. 2019).

The experts share one Transformer; each has its own vector for the decoder's first input. A sentence trains the expert
that finds it most probable. So the experts learn different ways to translate, and the output of one expert has fewer
modes than that of a single model (Zhou et al. 2020, section 5).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import MixtureConfig
from seqdistill.models.autoregressive.encoder_decoder import StatesModel
from seqdistill.models.autoregressive.transformer import Transformer, TransformerState
from seqdistill.models.family import FAMILIES
from seqdistill.nn.losses import Loss, label_smoothed_nll, sequence_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds


class Mixture(StatesModel):
    """Writes, and gives states and losses in evaluation mode, as one of its experts; all of them learn."""

    traits = FAMILIES["mixture"].traits
    expert: Tensor
    """The expert that writes, counted from 0; training lets the one write that is best on validation data."""
    won: Tensor
    """Sentences that each expert has won in this process since `log_metrics` was last called."""

    def __init__(self, config: MixtureConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.num_experts = config.experts
        self.transformer = Transformer(config, source_ids=source_ids, target_ids=target_ids)
        self.starts = nn.Parameter(torch.empty(config.experts, config.dim))
        """What each expert reads first, in place of the vector of the decoder's start."""
        nn.init.normal_(self.starts, std=config.dim**-0.5)
        self.register_buffer("expert", torch.zeros((), dtype=torch.int64))
        self.register_buffer("won", torch.zeros(config.experts, dtype=torch.int64))

    def states(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target dim"]:
        """States whose product with the transpose of `output_weight` gives those logits."""
        return self._states(source, target, self.expert.expand(len(source)))

    @property
    def output_weight(self) -> Float[Tensor, "vocab dim"]:
        """The output layer, which all experts share."""
        return self.transformer.output_weight

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood (nats, padding excluded): in training of each sentence under the expert that finds it
        most probable, otherwise under the one that writes."""
        labels = batch.target if batch.labels is None else batch.labels
        experts = self.expert.expand(len(labels))
        if self.training:
            # Hard EM, min over z of -log p(y | x, z): choose the expert of each sentence, then train that one alone.
            experts = self.winners(batch)
            self.won += experts.bincount(minlength=self.config.experts)
        states = self._states(batch.source, batch.target, experts)
        padding = self.target_ids.pad
        return label_smoothed_nll(states, self.output_weight, labels, padding=padding, label_smoothing=label_smoothing)

    @torch.no_grad()
    def winners(self, batch: Batch) -> Int[Tensor, " batch"]:
        """The expert that gives each sentence the highest log-probability (the first among equals), counted from 0.

        Computed without dropout, which would hide how the experts differ, and without label smoothing or length
        normalisation (Shen et al. 2019, section 3).
        """
        labels = batch.target if batch.labels is None else batch.labels
        # Evaluation mode for the scores only: the loss that follows is computed with dropout.
        training = self.training
        self.eval()
        # The source is read once: experts differ in the decoder's first input only.
        memory, mask = self.transformer.read(batch.source)
        losses = [
            sequence_nll(
                self.transformer.continued(memory, mask, batch.target, start.expand(len(labels), -1)),
                self.output_weight,
                labels,
                padding=self.target_ids.pad,
            )
            for start in self.starts
        ]
        self.train(training)
        return torch.stack(losses).argmin(0)  # (experts, batch) -> (batch)

    def log_metrics(self) -> Mapping[str, float]:
        """The share of sentences that each expert has won since the last call; an expert that wins none has died."""
        shares = (self.won / self.won.sum().clamp(min=1)).tolist()
        self.won.zero_()
        return {f"expert_{number}_share": round(share, 4) for number, share in enumerate(shares, 1)}

    def encode(self, source: Int[Tensor, "batch source"]) -> TransformerState:
        """The state before the first token, one row per sentence."""
        return self.transformer.encode(source, first=self.start)

    def step(
        self, tokens: Int[Tensor, " rows"], state: TransformerState
    ) -> tuple[Float[Tensor, "rows vocab"], TransformerState]:
        """As `Transformer.step`."""
        return self.transformer.step(tokens, state)

    @property
    def start(self) -> Float[Tensor, " dim"]:
        """The first decoder input of the expert that writes."""
        return self.starts[self.expert]

    def choose(self, number: int) -> None:
        """Lets an expert write, counted from 1.

        Raises:
            UserError: there is no such expert.
        """
        if not 1 <= number <= self.config.experts:
            raise UserError(
                f"expert {number}: this mixture has the experts 1 to {self.config.experts}; give one of them, or none "
                "for the one that was best on validation data"
            )
        self.expert.fill_(number - 1)

    def _states(
        self,
        source: Int[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        experts: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch target dim"]:
        # (batch, dim): each row begins with the vector of its expert, and only that one gets a gradient from it.
        return self.transformer.continued(*self.transformer.read(source), target, self.starts[experts])
