"""The protocols every model, decoder and objective meets: nothing else is known of a model outside `models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.models.traits import Traits
from seqdistill.nn.losses import Loss
from seqdistill.vocabulary.ids import SpecialIds

Objective = Callable[[Batch], Loss]
"""The function of one batch that training minimises; the model is bound in it."""


class Model(nn.Module):
    """What every model has; it is an AutoregressiveModel or a RefinementModel too."""

    traits: Traits
    source_ids: SpecialIds
    target_ids: SpecialIds
    """Of the vocabularies it was made for; given at construction."""


@runtime_checkable
class State(Protocol):
    """State of an autoregressive decoder between steps, one row per sequence being written.

    A state is used up by what takes it: `step`, `repeat` and `select` may change it, so go on with what they return.
    """

    def repeat(self, n: int) -> State:
        """Repeats every row n times, copies side by side: row i becomes rows i*n .. i*n+n-1. Called once at
        most. The n rows of a sentence form its group."""
        ...

    def select(self, rows: Int[Tensor, " new_rows"]) -> State:
        """Keeps these rows in this order (repeats allowed). After `repeat(n)`, rows come in whole groups: new rows
        j*n .. j*n+n-1 all stem from one old group, so what belongs to the sentence can be stored once per group."""
        ...


@runtime_checkable
class CountsUpdates(Protocol):
    """A model whose training loss depends on how far its training is."""

    def begin_update(self) -> None:
        """The training loop calls it before the first micro-batch of each update, on every rank."""
        ...


@runtime_checkable
class HasLogMetrics(Protocol):
    """A model that reports more of its training than its loss."""

    def log_metrics(self) -> Mapping[str, float]:
        """Values since the last call; they go into the log."""
        ...


@runtime_checkable
class AutoregressiveModel(Protocol):
    """An autoregressive model.

    It is given targets as batches hold them, ending with EOS, and shifts them right by itself: the state at place i has
    read `decoder_prompt`, `decoder_start` and the tokens before i, and predicts token i.
    """

    traits: Traits
    source_ids: SpecialIds
    target_ids: SpecialIds
    """Of the vocabularies it was made for; given at construction."""

    def forward(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of every token of a target, given what precedes it (teacher forcing)."""
        ...

    def states(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target dim"]:
        """States whose product with the transpose of `output_weight` gives those logits."""
        ...

    @property
    def output_weight(self) -> Float[Tensor, "vocab dim"]:
        """The output layer."""
        ...

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of the batch's labels, or of its targets (nats, padding excluded)."""
        ...

    def encode(self, source: Int[Tensor, "batch source"]) -> State:
        """The state before the first token, one row per sentence; sources end with EOS, right-padded with PAD."""
        ...

    def step(self, tokens: Int[Tensor, " rows"], state: State) -> tuple[Float[Tensor, "rows vocab"], State]:
        """Reads each row's last token, first `decoder_start`; the log-probabilities of the next, and the new state."""
        ...


@runtime_checkable
class ExpertsModel(AutoregressiveModel, Protocol):
    """A model of several experts, of which one writes."""

    num_experts: int
    expert: Tensor
    """The expert that writes, counted from 0."""

    def choose(self, number: int) -> None:
        """Lets an expert write, counted from 1.

        Raises:
            UserError: there is no such expert.
        """
        ...


class Canvas(NamedTuple):
    """The outputs a non-autoregressive decoder is working on, one row per candidate."""

    tokens: Int[Tensor, "rows length"]
    """No BOS, no EOS; right-padded with PAD; MASK where nothing is written yet. The decoder cuts off columns that hold
    only padding before it hands the canvas on."""
    log_probs: Float[Tensor, "rows length"]
    """Log-probability of each token when it was predicted; 0 where PAD."""
    length_log_probs: Float[Tensor, " rows"]
    """Log-probability of the row's length; 0 from a model that predicts none."""
    passes: Int[Tensor, " rows"]
    """Runs of the decoder that the row has taken part in so far: an iteration of some models needs several."""


@runtime_checkable
class Memory(Protocol):
    """An encoded source, one row per sentence."""

    def select(self, rows: Int[Tensor, " new_rows"]) -> Memory:
        """Keeps these rows in this order, repeats allowed."""
        ...


@runtime_checkable
class RefinementModel(Protocol):
    """A model that writes all positions at once, in one pass or several."""

    traits: Traits
    source_ids: SpecialIds
    target_ids: SpecialIds
    """Of the vocabularies it was made for; given at construction."""
    iterations: int
    """Iterations it is decoded with at most, unless told otherwise: 1 for a single-pass model."""
    longest_target: int | None
    """Most words of a target that it has a loss for; None: any number."""

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """The model's own training loss; the count is that of the target tokens it is a sum over."""
        ...

    def encode(self, source: Int[Tensor, "batch source"]) -> Memory:
        """Sources end with EOS, right-padded with PAD."""
        ...

    def start(self, memory: Memory, *, candidates: int) -> Canvas:
        """The first canvas: `candidates` rows for each sentence, side by side (its most probable lengths)."""
        ...

    def refine(
        self,
        canvas: Canvas,
        memory: Memory,
        *,
        step: int,
        iterations: int,
        limits: Int[Tensor, " rows"],
        penalty: float,
    ) -> Canvas:
        """Iteration number `step` (from 0) of at most `iterations`; predictions only, so no MASK is left.

        Args:
            memory: one row per row of the canvas.
            limits: most tokens of each row; a model that inserts stops there, others need not look at them.
            penalty: taken from the log-probability of inserting nothing at a place, where a model can insert.
        """
        ...


@runtime_checkable
class RescoringModel(RefinementModel, Protocol):
    """A model with latent variables, which can say more of its outputs than how probable their words are."""

    def rescored(self, canvas: Canvas, memory: Memory, *, samples: int) -> Canvas:
        """The same tokens with other log-probabilities: those of a row sum to an estimate, from `samples` samples, of
        the log-probability of the row given its source, with the latent variables integrated out."""
        ...
