"""Models small enough to enumerate: they hold the protocols' promises and check that decoders hold theirs."""

from __future__ import annotations

import itertools
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from seqdistill.models.interface import Canvas, Model
from seqdistill.models.traits import Traits
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

DIM = 6


class ToyState(NamedTuple):
    memory: Tensor
    """One row for each group."""
    hidden: Tensor
    """One row for each hypothesis."""
    n: int

    def repeat(self, n: int) -> ToyState:
        assert self.n == 1, "repeat is called once at most"
        return ToyState(self.memory, self.hidden.repeat_interleave(n, 0), n)

    def select(self, rows: Tensor) -> ToyState:
        groups = (rows // self.n).view(-1, self.n)
        assert (groups == groups[:, :1]).all(), "rows come in whole groups"
        return ToyState(self.memory[groups[:, 0]], self.hidden[rows], self.n)


class ToyWriter(Model):
    """A random recurrent network; `scale` makes it more or less sure of itself."""

    traits = Traits()
    source_ids = target_ids = OURS

    def __init__(self, vocab: int, *, seed: int = 1, scale: float = 2.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = torch.randn(vocab, DIM, generator=generator)
        self.recurrent = torch.randn(DIM, DIM, generator=generator)
        self.output = torch.randn(DIM, vocab, generator=generator) * scale

    def _memory(self, source: Tensor) -> Tensor:
        places = torch.arange(1, source.shape[1] + 1)[:, None]
        return (self.embedding[source % len(self.embedding)] * (source != PAD)[:, :, None] / places).sum(1)

    def encode(self, source: Tensor) -> ToyState:
        return ToyState(self._memory(source), torch.zeros(len(source), DIM), 1)

    def step(self, tokens: Tensor, state: ToyState) -> tuple[Tensor, ToyState]:
        memory = state.memory.repeat_interleave(state.n, 0)
        hidden = torch.tanh(state.hidden @ self.recurrent + self.embedding[tokens] + memory)
        return (hidden @ self.output).log_softmax(-1), state._replace(hidden=hidden)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Teacher forcing, without any state."""
        context = pad(target[:, :-1], (1, 0), value=BOS)
        hidden, memory, logits = torch.zeros(len(source), DIM), self._memory(source), []
        for place in range(context.shape[1]):
            hidden = torch.tanh(hidden @ self.recurrent + self.embedding[context[:, place]] + memory)
            logits.append(hidden @ self.output)
        return torch.stack(logits, 1)


def forced_log_prob(model: nn.Module, source: Tensor, words: tuple[int, ...], *, ended: bool) -> float:
    """Sum of the log-probabilities of the words, and of EOS if ended, teacher-forced, special ids excluded."""
    labels = torch.tensor([*words, EOS] if ended else words)
    logits = model(source, labels[None])[0]
    logits[:, [PAD, UNK, BOS, MASK]] = -torch.inf
    log_probs = logits.log_softmax(-1)
    return log_probs[torch.arange(len(labels)), labels].sum().item()


def every_output(
    model: nn.Module, source: Tensor, *, vocab: int, limit: int, length_penalty: float
) -> list[tuple[float, tuple[int, ...]]]:
    """(score, words) of all outputs, best first: those that end within `limit`, and those cut there."""
    words = [token for token in range(vocab) if token not in (PAD, UNK, BOS, EOS, MASK)]
    scored = []
    for length in range(limit + 1):
        ended = length < limit
        for output in itertools.product(words, repeat=length):
            log_prob = forced_log_prob(model, source, output, ended=ended)
            scored.append((log_prob / (length + ended) ** length_penalty, output))
    return sorted(scored, reverse=True)


def random_sources(vocab: int, *, rows: int, seed: int = 3) -> Tensor:
    """Sources of 1 to 6 words, EOS, padding."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.full((rows, 7), PAD)
    for row in source:
        length = int(torch.randint(1, 7, (1,), generator=generator))
        row[:length] = torch.randint(5, vocab, (length,), generator=generator)
        row[length] = EOS
    return source


class ToyMemory(NamedTuple):
    source: Tensor

    def select(self, rows: Tensor) -> ToyMemory:
        return ToyMemory(self.source[rows])


class ToyRefiner(Model):
    """Writes the length asked for; in iteration t, positions below `speed` * (t + 1) get their final token.

    The final token at position i is 5 + (source[0] + i + length) % words; before that it is 5. Log-probabilities are
    -1 / (1 + i + length) in every iteration.
    """

    longest_target = None
    source_ids = target_ids = OURS

    def __init__(self, *, iterations: int, words: int = 20, speed: int = 2):
        super().__init__()
        self.traits = Traits(non_autoregressive=True, iterates=iterations > 1)
        self.iterations, self.words, self.speed = iterations, words, speed
        self.rows_of_iteration: list[int] = []

    def loss(self, batch: object, *, label_smoothing: float = 0.0) -> NoReturn:
        raise AssertionError("decoders compute no loss")

    def encode(self, source: Tensor) -> ToyMemory:
        return ToyMemory(source)

    def start(self, memory: ToyMemory, *, candidates: int) -> Canvas:
        first = (memory.source != PAD).sum(1, keepdim=True) - 1
        lengths = (first + torch.arange(candidates)).flatten()
        written = torch.arange(int(lengths.max())) < lengths[:, None]
        tokens = torch.where(written, MASK, PAD)
        nothing = torch.zeros(len(tokens))
        return Canvas(tokens, torch.zeros(tokens.shape), nothing, nothing.long())

    def refine(
        self, canvas: Canvas, memory: ToyMemory, *, step: int, iterations: int, limits: Tensor, penalty: float
    ) -> Canvas:
        self.rows_of_iteration.append(len(canvas.tokens))
        written = canvas.tokens != PAD
        places, lengths = torch.arange(canvas.tokens.shape[1]), written.sum(1, keepdim=True)
        final = 5 + (memory.source[:, :1] + places + lengths) % self.words
        tokens = torch.where(places < self.speed * (step + 1), final, 5)
        log_probs = -1.0 / (1 + places + lengths)
        return canvas._replace(
            tokens=torch.where(written, tokens, PAD),
            log_probs=torch.where(written, log_probs, torch.zeros(())),
            passes=canvas.passes + 1,
        )
