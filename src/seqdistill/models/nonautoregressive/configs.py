"""Configs of the non-autoregressive models; here is no torch, so that a recipe is checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seqdistill.errors import UserError
from seqdistill.models.sizes import TransformerSizes

LengthKind = Literal["offset", "absolute"]
"""The 256 classes are differences to the source's length, -128 .. 127 (the outermost stand for whatever lies beyond, as
a teacher's runaway output), or lengths themselves, 0 .. 255 (longer targets are an error)."""

REACH = 20
"""Largest difference between the lengths of a padded target of FlowSeq's and of its source."""

MOST_STEPS = 100
"""Of a flow at a level."""


@dataclass(frozen=True)
class NonAutoregressiveConfig(TransformerSizes):
    """What non-autoregressive models share; the defaults are the base size of Zhou et al. (2020), table 5."""

    dim: int = 512
    ffn_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    heads: int = 8
    dropout: float = 0.3


@dataclass(frozen=True)
class LengthPredictingConfig(NonAutoregressiveConfig):
    """What models share that predict a length before they write."""

    length: LengthKind = "offset"
    """Whether length classes are differences to the source's length, or lengths themselves."""


@dataclass(frozen=True)
class NATConfig(LengthPredictingConfig):
    """Sizes of a NAT."""


@dataclass(frozen=True)
class CMLMConfig(LengthPredictingConfig):
    """Sizes of a CMLM."""


@dataclass(frozen=True)
class INATConfig(LengthPredictingConfig):
    """Sizes of an iNAT and how it is trained; the defaults are those of Zhou et al. (2020), A.2."""

    train_iterations: int = 4
    """Iterations of each update, the target the same in all of them."""
    denoising: float = 0.5
    """Probability that a sentence's next input is its corrupted target instead of what was predicted."""
    corruption: float = 0.33
    """Probability that a word is corrupted: a third each to be replaced, repeated, or swapped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_iterations < 1:
            raise UserError(f"train_iterations must be 1 or more, but is {self.train_iterations}")
        for name in ("denoising", "corruption"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be a probability from 0 to 1, but is {getattr(self, name)}")


@dataclass(frozen=True)
class InsertionTransformerConfig(NonAutoregressiveConfig):
    """Sizes of an Insertion Transformer."""


@dataclass(frozen=True)
class LevenshteinTransformerConfig(NonAutoregressiveConfig):
    """Sizes of a Levenshtein Transformer."""


@dataclass(frozen=True)
class FlowSeqConfig(NonAutoregressiveConfig):
    """Sizes of a FlowSeq and how its training goes; the defaults are the base size of Ma et al. (2019)."""

    dim: int = 256
    """Width of embeddings, layers and latent variables."""
    ffn_dim: int = 1024
    posterior_layers: int = 4
    decoder_layers: int = 4
    heads: int = 8
    """Of attention everywhere, and of the flow's invertible linear layers."""
    dropout: float = 0.1
    flow_steps: str = "4,4,2"
    """Steps of the flow at each of its levels; targets are padded to multiples of 2 to the power of levels - 1."""
    flow_ffn_dim: int = 512
    """Width inside the feed-forward layers of the flow."""
    word_dropout: float = 0.2
    """Share of the target words that the posterior does not see in training."""
    autoencoder_updates: int = 30_000
    """Updates of encoder, posterior and decoder before the prior is learned; there is no translating before. In short
    trainings a fifth of all updates."""
    kl_updates: int = 10_000
    """Updates after that in which the weight of the KL divergence rises to 1; in short trainings as many again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least_of = {"posterior_layers": 1, "flow_ffn_dim": 1, "autoencoder_updates": 0, "kl_updates": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} must be {least} or more, but is {getattr(self, name)}")
        if not 0 <= self.word_dropout < 1:
            raise UserError(f"word_dropout must be at least 0 and below 1, but is {self.word_dropout}")
        if self.dim % 4 or self.dim % (2 * self.heads):
            raise UserError(
                f"dim must be divisible by 4 and by twice the heads (couplings read half of it), but dim is {self.dim} "
                f"and heads {self.heads}"
            )
        self.steps()

    def check_updates(self, max_updates: int, *, patience: int) -> None:
        """Raises UserError for a training that would end without a prior, and so without translations.

        Args:
            max_updates: of the training.
            patience: updates without a better validation after which it ends; 0: it does not.
        """
        if max_updates <= self.autoencoder_updates:
            raise UserError(
                f"max_updates {max_updates}: FlowSeq cannot translate before the end of its autoencoder_updates, which "
                f"are {self.autoencoder_updates}; give more updates or, for example, --set autoencoder_updates="
                f"{max_updates // 5} --set kl_updates={max_updates // 5}"
            )
        if 0 < patience <= self.autoencoder_updates:
            raise UserError(
                f"patience: would end the training after {patience} updates without a better validation, but FlowSeq "
                f"cannot translate in its first {self.autoencoder_updates} (autoencoder_updates); leave patience out, "
                "or set fewer of those"
            )

    def steps(self) -> tuple[int, ...]:
        """`flow_steps` as numbers.

        Raises:
            UserError: it is no list of positive whole numbers, or of too many.
        """
        parts = [part.strip() for part in self.flow_steps.split(",")]
        numbers = [int(part) if part.isascii() and part.isdigit() and len(part) < 4 else 0 for part in parts]
        if not all(0 < number <= MOST_STEPS for number in numbers) or 2 ** (len(parts) - 1) > REACH:
            raise UserError(
                f"flow_steps must be one to five whole numbers from 1 to {MOST_STEPS}, divided by commas, such as "
                f"4,4,2, but is {self.flow_steps!r}"
            )
        return tuple(numbers)
