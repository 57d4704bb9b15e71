"""The sizes of a FlowSeq, and how long the phases of its training are."""

from __future__ import annotations

from dataclasses import dataclass

from seqdistill.errors import UserError
from seqdistill.models.nonautoregressive.shared.padded_lengths import REACH
from seqdistill.models.sizes import check_sizes


@dataclass(frozen=True)
class FlowSeqConfig:
    """Sizes of a FlowSeq; the defaults are the base size of Ma et al. (2019), also that of Zhou et al. (2020).

    Raises:
        UserError: a value out of range, or values that do not fit each other.
    """

    source_vocab: int
    target_vocab: int
    dim: int = 256
    """Width of embeddings, layers and latent variables."""
    ffn_dim: int = 1024
    """Width inside the feed-forward layers."""
    encoder_layers: int = 6
    posterior_layers: int = 4
    decoder_layers: int = 4
    heads: int = 8
    """Of attention everywhere, and of the flow's invertible linear layers."""
    dropout: float = 0.1
    tied: bool = True
    """One embedding for source, target and output; needs a joint vocabulary. Otherwise output and target share one."""
    norm_first: bool = True
    """Normalise what a sublayer reads or, as in the paper, what comes out of it (False)."""
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
        check_sizes(self)
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
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts) or 2 ** (len(parts) - 1) > REACH:
            raise UserError(
                "flow_steps must be one to five whole numbers from 1, divided by commas, such as 4,4,2, but is "
                f"{self.flow_steps!r}"
            )
        return tuple(int(part) for part in parts)
