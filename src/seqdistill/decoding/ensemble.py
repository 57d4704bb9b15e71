"""Several models that write one sentence together, by the mean of their distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqdistill.decoding.autoregressive import Writer
from seqdistill.errors import UserError
from seqdistill.models.interface import Model, State
from seqdistill.models.traits import Traits


class EnsembleState(NamedTuple):
    """The state of each model."""

    states: tuple[State, ...]

    def repeat(self, n: int) -> EnsembleState:
        return EnsembleState(tuple(state.repeat(n) for state in self.states))

    def select(self, rows: Int[Tensor, " new_rows"]) -> EnsembleState:
        return EnsembleState(tuple(state.select(rows) for state in self.states))


class Ensemble(Model):
    """p(y_t | y_<t, x) is the mean of the models' probabilities. The models share their vocabularies."""

    traits = Traits()

    def __init__(self, models: Sequence[Model]):
        """Raises UserError for no model, or one that is not autoregressive."""
        if not models or any(model.traits.non_autoregressive for model in models):
            raise UserError("an ensemble needs autoregressive models; a non-autoregressive one cannot")
        super().__init__()
        self.models = nn.ModuleList(models)
        self.source_ids, self.target_ids = models[0].source_ids, models[0].target_ids

    def encode(self, source: Int[Tensor, "batch source"]) -> EnsembleState:
        return EnsembleState(tuple(cast(Writer, model).encode(source) for model in self.models))

    def step(
        self, tokens: Int[Tensor, " rows"], state: EnsembleState
    ) -> tuple[Float[Tensor, "rows vocab"], EnsembleState]:
        found = [cast(Writer, model).step(tokens, own) for model, own in zip(self.models, state.states, strict=True)]
        # The mean of probabilities, not of their logarithms: log (1/n sum p) = logsumexp(log p) - log n.
        log_probs = torch.stack([log_probs for log_probs, _ in found]).logsumexp(0) - math.log(len(found))
        return log_probs, EnsembleState(tuple(own for _, own in found))
