"""Vanilla non-autoregressive Transformer: a length, then every word at once (Gu et al. 2018; Zhou et al. 2020, A.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.nn.layers import Decoder, Embedding, Encoder
from seqdistill.nn.losses import Loss, label_smoothed_nll
from seqdistill.text.tokenizer import BOS, EOS, MASK, PAD

LENGTH_CLASSES = 256
LENGTH_WEIGHT = 0.1
"""Weight of the length's loss beside the words' (Zhou et al. 2020, A.2)."""


@dataclass(frozen=True)
class NATConfig:
    """Sizes of a NAT; the defaults are the base size of Zhou et al. (2020), table 5.

    Raises:
        UserError: a value out of range, or values that do not fit each other.
    """

    source_vocab: int
    target_vocab: int
    dim: int = 512
    """Width of embeddings and layers."""
    ffn_dim: int = 2048
    """Width inside the feed-forward layers."""
    encoder_layers: int = 6
    decoder_layers: int = 6
    heads: int = 8
    dropout: float = 0.3
    tied: bool = True
    """One embedding for source, target and output; needs a joint vocabulary. Otherwise output and target share one."""
    norm_first: bool = True
    """Normalise what a sublayer reads or, as in the paper, what comes out of it (False)."""
    length: Literal["offset", "absolute"] = "offset"
    """The 256 classes are differences to the source's length, -128 .. 127 (the outermost stand for whatever lies
    beyond, as a teacher's runaway output), or lengths themselves, 0 .. 255 (longer targets are an error)."""

    def __post_init__(self) -> None:
        for name in ("source_vocab", "target_vocab", "dim", "ffn_dim", "encoder_layers", "decoder_layers", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.dim % self.heads or self.dim % 2:
            raise UserError(f"dim must be even and divisible by heads, but dim is {self.dim} and heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, but is {self.dropout}")
        if self.tied and self.source_vocab != self.target_vocab:
            raise UserError(
                f"tied embeddings need one vocabulary, but the source has {self.source_vocab} tokens and the target "
                f"{self.target_vocab}: prepare the data with a joint vocabulary, or set tied=false"
            )


class NATMemory(NamedTuple):
    """An encoded source, one row per sentence."""

    states: Float[Tensor, "rows source dim"]
    copied: Float[Tensor, "rows source dim"]
    """Scaled word vectors without positions: what the decoder's input is copied from."""
    real: Bool[Tensor, "rows source"]
    """False where the source is padding."""
    lengths: Int[Tensor, " rows"]
    """Source tokens, EOS not counted."""

    def select(self, rows: Int[Tensor, " new_rows"]) -> NATMemory:
        """Keeps these rows in this order, repeats allowed."""
        return NATMemory(*(field[rows] for field in self))


class NAT(nn.Module):
    """Words independent of each other given the source and the length; one pass.

    Lengths count no EOS, which this model does not write. They are predicted from the mean of the encoder's states.
    """

    parallel = True
    iterations = 1

    def __init__(self, config: NATConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = Embedding(config.source_vocab, config.dim)
        self.target_embedding = self.source_embedding if config.tied else Embedding(config.target_vocab, config.dim)
        sizes = (config.dim, config.ffn_dim, config.heads, config.dropout)
        self.encoder = Encoder(config.encoder_layers, *sizes, norm_first=config.norm_first)
        self.decoder = Decoder(config.decoder_layers, *sizes, norm_first=config.norm_first)
        self.length = nn.Linear(config.dim, LENGTH_CLASSES)

    def encode(self, source: Int[Tensor, "batch source"]) -> NATMemory:
        """Sources end with EOS, right-padded with PAD."""
        real = source != PAD
        states = self.encoder(self.source_embedding(source), real)
        copied = F.embedding(source, self.source_embedding.weight) * self.source_embedding.scale
        return NATMemory(states, copied, real, real.sum(1) - 1)

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of the word at every position of outputs with these lengths, at least 1 each."""
        return F.linear(self._states(self.encode(source), lengths), self.target_embedding.weight)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """Negative log-likelihood of words, EOS left out, plus 0.1 times that of lengths; label smoothing is for words.

        So that losses of batches add up, a length's loss counts once for every word of its sentence: divided by the
        number of words, which is the count returned, both parts are means over words.

        Raises:
            UserError: a target whose length has no class.
        """
        words = batch.target[:, :-1].masked_fill(batch.target[:, :-1] == EOS, PAD)
        lengths = (words != PAD).sum(1)
        memory = self.encode(batch.source)
        classes = self._length_classes(memory.lengths, lengths, batch.index)
        states = self._states(memory, lengths)
        weight = self.target_embedding.weight
        words = words[:, : states.shape[1]]
        spelled = label_smoothed_nll(states, weight, words, padding=PAD, label_smoothing=label_smoothing)
        length_loss = F.cross_entropy(self._length_logits(memory), classes, reduction="none")
        return Loss(spelled.total + LENGTH_WEIGHT * (length_loss * lengths).sum(), spelled.count)

    def start(self, memory: NATMemory, *, candidates: int) -> Canvas:
        """Masks in the `candidates` most probable lengths of each sentence; no length is 0.

        Raises:
            UserError: more candidates than there are lengths for every sentence.
        """
        if not 1 <= candidates < LENGTH_CLASSES // 2:
            raise UserError(
                f"a parallel decoder tries 1 to {LENGTH_CLASSES // 2 - 1} lengths, but beam is {candidates}"
            )
        lengths = torch.arange(LENGTH_CLASSES, device=memory.lengths.device) + self._shift(memory.lengths)[:, None]
        log_probs = self._length_logits(memory).log_softmax(-1).masked_fill(lengths < 1, -torch.inf)
        length_log_probs, best = log_probs.topk(candidates)
        tokens = masks(lengths.gather(1, best).flatten())
        nothing = torch.zeros(tokens.shape, device=tokens.device)
        return Canvas(tokens, nothing, length_log_probs.flatten(), torch.zeros_like(tokens[:, 0]))

    def refine(
        self,
        canvas: Canvas,
        memory: NATMemory,
        *,
        step: int,  # noqa: ARG002
        iterations: int,  # noqa: ARG002
        limits: Int[Tensor, " rows"],  # noqa: ARG002
        penalty: float,  # noqa: ARG002
    ) -> Canvas:
        """The most probable word at every position, whatever the canvas holds; every iteration gives the same."""
        real = canvas.tokens != PAD
        lengths = real.sum(1)
        logits = F.linear(self._states(memory, lengths), self.target_embedding.weight)
        logits[..., [PAD, BOS, EOS, MASK]] = -torch.inf
        log_probs, words = logits.log_softmax(-1).max(-1)
        beyond = ~real[:, : words.shape[1]]
        return canvas._replace(
            tokens=words.masked_fill(beyond, PAD),
            log_probs=log_probs.masked_fill(beyond, 0.0),
            passes=canvas.passes + 1,
        )

    def _states(self, memory: NATMemory, lengths: Int[Tensor, " rows"]) -> Float[Tensor, "rows target dim"]:
        """The decoder's output for copies of the source stretched to these lengths, which are at least 1."""
        chosen = copy_positions(memory.lengths, lengths)[..., None].expand(-1, -1, self.config.dim)
        inputs = memory.copied.gather(1, chosen) + self.target_embedding.positions_to(chosen.shape[1])
        real = torch.arange(chosen.shape[1], device=lengths.device) < lengths.clamp(min=1)[:, None]
        return self.decoder(inputs, real, memory.states, memory.real, causal=False)

    def _length_logits(self, memory: NATMemory) -> Float[Tensor, "rows classes"]:
        real = memory.real[..., None]
        return self.length(memory.states.masked_fill(~real, 0).sum(1) / real.sum(1))

    def _shift(self, source_lengths: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """The length that class 0 stands for."""
        if self.config.length == "absolute":
            return torch.zeros_like(source_lengths)
        return source_lengths - LENGTH_CLASSES // 2

    def _length_classes(
        self, source_lengths: Int[Tensor, " batch"], lengths: Int[Tensor, " batch"], index: Int[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        classes = lengths - self._shift(source_lengths)
        if self.config.length == "offset":
            return classes.clamp(0, LENGTH_CLASSES - 1)
        if len(outside := (classes >= LENGTH_CLASSES).nonzero()):
            row = int(outside[0])
            raise UserError(
                f"line {int(index[row]) + 1} of the training data: {int(lengths[row])} target tokens, but the model's "
                f"length classes (absolute) allow at most {LENGTH_CLASSES - 1}; prepare the data with shorter targets, "
                "or set length=offset"
            )
        return classes


def copy_positions(source_lengths: Int[Tensor, " rows"], lengths: Int[Tensor, " rows"]) -> Int[Tensor, "rows target"]:
    """Which source position each target position i copies: round(i * (S - 1) / (T - 1)), halves rounded up.

    S and T are the lengths without EOS. A target of one token copies position 0; an empty source's EOS is copied.
    Positions past the target's end copy some position of the source.
    """
    last_source = (source_lengths - 1).clamp(min=0)[:, None]
    last_target = (lengths - 1).clamp(min=1)[:, None]
    positions = torch.arange(int(lengths.max()), device=lengths.device)
    return torch.minimum((2 * positions * last_source + last_target) // (2 * last_target), last_source)


def masks(lengths: Int[Tensor, " rows"]) -> Int[Tensor, "rows length"]:
    """A canvas of these lengths with nothing written yet."""
    positions = torch.arange(int(lengths.max()), device=lengths.device)
    return torch.where(positions < lengths[:, None], MASK, PAD)
