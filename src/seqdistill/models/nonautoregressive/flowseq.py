"""FlowSeq: words independent of each other given latent variables that a flow draws (Ma et al. 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.data.batches import Batch
from seqdistill.models.family import FAMILIES
from seqdistill.models.interface import Canvas, Model
from seqdistill.models.nonautoregressive.configs import FlowSeqConfig
from seqdistill.models.nonautoregressive.shared.canvas import EncodedSource, masks, most_probable
from seqdistill.models.nonautoregressive.shared.padded_lengths import PaddedLength, padded_targets, whole_units
from seqdistill.models.nonautoregressive.shared.phases import Phases, alone_or_first, take_over_from_first
from seqdistill.models.nonautoregressive.shared.posterior import Posterior
from seqdistill.nn.attention import CrossAttention
from seqdistill.nn.flow_layers import Condition, CouplingSizes
from seqdistill.nn.flows import MultiScaleFlow
from seqdistill.nn.layers import Decoder, Embedding, Encoder
from seqdistill.nn.losses import Loss, label_smoothed_nll, sequence_nll
from seqdistill.vocabulary.ids import OURS, SpecialIds

Latents = Float[Tensor, "rows padded dim"]


class Bound(NamedTuple):
    """The parts of the negative evidence lower bound, in nats, summed over sentences."""

    words: Float[Tensor, ""]
    """-log p(y | z, x), the EOS of the padding included."""
    divergence: Float[Tensor, ""]
    """log q(z | y, x) - log p(z | x) at one z: an estimate of the KL divergence from one sample."""
    length: Float[Tensor, ""]
    """-log p(length of the padded target | x)."""
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    """Tokens of the padded targets."""


class FlowSeq(Model):
    """p(y | x) = p(T | x) times the integral of p(z | x) p(y | z, x), z a vector for each of T positions.

    T is the length of the target padded with EOS to a multiple of the flow's unit; that EOS is a word like any other.
    Outputs end before the first EOS.

    Training (see `Phases`) begins by fitting the posterior's means to the data; `autoencoder_updates` then train
    encoder, posterior and decoder at these means. The next update fits the posterior's variances and the flow to the
    latent variables it meets; from there on the loss is the negative evidence lower bound, with a weight of the KL
    divergence that rises evenly to 1 over `kl_updates`. Outside of training the loss is that bound with weight 1.
    """

    traits = FAMILIES["flowseq"].traits
    longest_target = None
    iterations = 1

    def __init__(self, config: FlowSeqConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding = Embedding(config.source_vocab, config.dim)
        self.target_embedding = self.source_embedding if config.tied else Embedding(config.target_vocab, config.dim)
        sizes = (config.dim, config.ffn_dim, config.heads, config.dropout)
        self.encoder = Encoder(config.encoder_layers, *sizes, norm_first=config.norm_first)
        stack = Decoder(config.posterior_layers, *sizes, norm_first=config.norm_first)
        self.posterior = Posterior(stack, config.dim, config.word_dropout)
        couplings = CouplingSizes(config.dim, config.flow_ffn_dim, config.heads, config.norm_first)
        self.prior = MultiScaleFlow(config.dim, config.steps(), couplings, heads=config.heads)
        self.reading = CrossAttention(config.dim, config.heads)
        self.decoder = Decoder(config.decoder_layers, *sizes, norm_first=config.norm_first)
        self.length = PaddedLength(config.dim, self.prior.unit)
        self.phases = Phases(config.autoencoder_updates, config.kl_updates)

    def begin_update(self) -> None:
        """To be called before the first micro-batch of each update: the loss depends on how many there were."""
        self.phases.begin()

    def encode(self, source: Int[Tensor, "batch source"]) -> EncodedSource:
        """Sources end with EOS, right-padded with PAD."""
        mask = source != self.source_ids.pad
        return EncodedSource(self.encoder(self.source_embedding(source), mask), mask)

    def loss(self, batch: Batch, *, label_smoothing: float = 0.0) -> Loss:
        """What the phase of the training minimises; the negative evidence lower bound outside of training.

        It is divided by the tokens of the padded targets. Label smoothing is for words (Ma et al. use 0.1). z is drawn
        from torch's global generator. A target more than 20 tokens longer or shorter than its source counts, for the
        length's loss, as the longest or shortest within these bounds.
        """
        tokens = padded_targets(batch.target, self.prior.unit, self.target_ids)
        weight = 1.0
        if self.training and torch.is_grad_enabled():
            self._fit_what_is_due(batch.source, tokens)
            weight = self.phases.kl_weight
        # Without noise z is the posterior's mean: the autoencoder phase.
        noise = self._noise(tokens) if weight else torch.zeros(*tokens.shape, self.config.dim, device=tokens.device)
        words, divergence, length, count = self.bound(
            batch.source, tokens, noise, autoencode=not weight, label_smoothing=label_smoothing
        )
        return Loss(words + weight * divergence + length, count)

    def bound(
        self,
        source: Int[Tensor, "rows source"],
        tokens: Int[Tensor, "rows padded"],
        noise: Latents,
        *,
        autoencode: bool = False,
        label_smoothing: float = 0.0,
    ) -> Bound:
        """The bound at z = mean + deviation * noise of the posterior.

        Args:
            tokens: as `padded_targets` returns them.
            autoencode: leave out the prior; the divergence is 0.
        """
        # log p(y) >= log p(y | z) + log p(z) - log q(z | y) in the mean over z of q. Both densities are taken at the
        # same z: that of q from the noise z was made of, that of p from the noise that the flow makes of z.
        memory, padding = self.encode(source), self.target_ids.pad
        mask = tokens != padding
        condition = _condition(memory, mask)
        posterior = self.posterior(self.target_embedding, tokens, condition)
        z = posterior.at(noise)
        states = self._decoded(z, condition)
        weight = self.target_embedding.weight
        words = label_smoothed_nll(states, weight, tokens, padding=padding, label_smoothing=label_smoothing)
        divergence = torch.zeros_like(words.total)
        if not autoencode:
            divergence = (posterior.log_prob(noise, mask) - self.prior.log_prob(z, condition)).sum()
        length = self.length.loss(memory.states, memory.mask, mask.sum(1)).sum()
        return Bound(words.total, divergence, length, words.count)

    def log_weights(
        self, tokens: Int[Tensor, "rows padded"], memory: EncodedSource, noise: Latents
    ) -> Float[Tensor, " rows"]:
        """log p(y, z | x, T) - log q(z | y, x), at z as in `bound`: means of their exponentials tend to p(y | x, T)."""
        padding = self.target_ids.pad
        mask = tokens != padding
        condition = _condition(memory, mask)
        posterior = self.posterior(self.target_embedding, tokens, condition)
        z = posterior.at(noise)
        words = sequence_nll(self._decoded(z, condition), self.target_embedding.weight, tokens, padding=padding)
        return self.prior.log_prob(z, condition) - posterior.log_prob(noise, mask) - words

    def forward(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch padded vocab"]:
        """Logits at every position of outputs with these padded lengths, at temperature 0."""
        mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
        return F.linear(self._most_likely(self.encode(source), mask), self.target_embedding.weight)

    def start(self, memory: EncodedSource, *, candidates: int) -> Canvas:
        """Masks in the `candidates` most probable padded lengths of each sentence.

        Raises:
            UserError: more candidates than there are lengths for every sentence.
        """
        lengths, log_probs = self.length.most_probable(memory.states, memory.mask, candidates=candidates)
        tokens = masks(lengths.flatten(), self.target_ids)
        nothing = torch.zeros(tokens.shape, device=tokens.device)
        return Canvas(tokens, nothing, log_probs.flatten(), torch.zeros_like(tokens[:, 0]))

    def refine(
        self,
        canvas: Canvas,
        memory: EncodedSource,
        *,
        step: int,  # noqa: ARG002
        iterations: int,  # noqa: ARG002
        limits: Int[Tensor, " rows"],
        penalty: float,  # noqa: ARG002
    ) -> Canvas:
        """The most probable words before the first EOS, z at temperature 0; every iteration gives the same."""
        ids = self.target_ids
        # A row that was cut at its limit may have a length that the flow does not take: it is rounded up again.
        lengths = whole_units((canvas.tokens != ids.pad).sum(1), self.prior.unit)
        places = torch.arange(int(lengths.max()), device=lengths.device)
        mask = places < lengths[:, None]
        states, weight = self._most_likely(memory, mask), self.target_embedding.weight
        found, their_log_probs = most_probable(states[mask], weight, forbidden=ids.never_written)
        words = torch.full(mask.shape, ids.eos, device=found.device).masked_scatter(mask, found)
        log_probs = torch.zeros(mask.shape, device=found.device).masked_scatter(mask, their_log_probs.float())
        # Of a b EOS c the count of EOS so far is 0 0 1 1: a and b are kept.
        kept = ((words == ids.eos).cumsum(1) == 0) & (places < limits[:, None])
        return canvas._replace(
            tokens=words.masked_fill(~kept, ids.pad),
            log_probs=log_probs.masked_fill(~kept, 0.0),
            passes=canvas.passes + 1,
        )

    def rescored(self, canvas: Canvas, memory: EncodedSource, *, samples: int) -> Canvas:
        """Estimates log p(y, T | x) of each row from samples of the posterior, and gives each word an equal part of it
        (section 3.5, importance-weighted decoding; Burda et al. 2016). T is the number of words rounded up. Each sample
        takes a run of the decoder.

        All rows have the same noise at a position. So a row's estimate does not depend on the other rows, and the
        candidates of a sentence are compared under the same noise.
        """
        # log p(y) = log E_q[p(y, z) / q(z)], by the mean of the samples' weights; a sum in the exponent, as weights of
        # long outputs are far below the smallest float.
        ids = self.target_ids
        kept = canvas.tokens != ids.pad
        # EOS after the last word of each row, in the column that its number of words names.
        ended = F.pad(canvas.tokens, (0, 1), value=ids.pad).scatter(1, kept.sum(1, keepdim=True), ids.eos)
        tokens = padded_targets(ended, self.prior.unit, ids)
        noise = self._common_noise(samples, tokens.shape[1]).to(memory.states)
        weights = [self.log_weights(tokens, memory, each.expand(len(tokens), -1, -1)) for each in noise]
        estimates = torch.stack(weights).logsumexp(0) - math.log(samples)
        estimates = estimates - self.length.loss(memory.states, memory.mask, (tokens != ids.pad).sum(1))
        # Shared out evenly over the words, as a canvas has a log-probability for each word and ranks by their sum.
        each = (estimates / kept.sum(1).clamp(min=1))[:, None].expand(kept.shape)
        return canvas._replace(
            log_probs=each.to(canvas.log_probs.dtype).masked_fill(~kept, 0.0), passes=canvas.passes + samples
        )

    def _fit_what_is_due(self, source: Int[Tensor, "rows source"], tokens: Int[Tensor, "rows padded"]) -> None:
        """Fits the parameters that are to be initialised in this update (see `Phases`) to its first micro-batch.

        Of several processes the first one has that micro-batch and fits; the others take over its parameters.
        """
        phases = self.phases
        if phases.take_begun() and (phases.first or phases.first_with_prior):
            if alone_or_first():
                with torch.autocast(source.device.type, enabled=False):
                    self._fit(source, tokens, means=phases.first, prior=phases.first_with_prior)
            # All processes come here, also those that did not fit: a broadcast waits for every one of them.
            take_over_from_first(self.parameters())
            torch.clear_autocast_cache()  # copies of the weights as they were

    @torch.no_grad()
    def _fit(self, source: Tensor, tokens: Tensor, *, means: bool, prior: bool) -> None:
        """Data-dependent initialisation, as training will see the data: dropout is on."""
        condition = _condition(self.encode(source), tokens != self.target_ids.pad)
        if means:
            self.posterior.fit_means(self.target_embedding, tokens, condition)
        if prior:
            self.posterior.fit_variances(self.target_embedding, tokens, condition)
            z = self.posterior(self.target_embedding, tokens, condition).at(self._noise(tokens))
            self.prior.fit(z, condition)

    def _noise(self, tokens: Int[Tensor, "rows padded"]) -> Latents:
        return torch.randn(*tokens.shape, self.config.dim, device=tokens.device)

    def _most_likely(self, memory: EncodedSource, mask: Bool[Tensor, "rows padded"]) -> Latents:
        """The decoder's states where the flow's noise is 0."""
        condition = _condition(memory, mask)
        z, _ = self.prior.inverse(memory.states.new_zeros(*mask.shape, self.config.dim), condition)
        return self._decoded(z, condition)

    def _decoded(self, z: Latents, condition: Condition) -> Latents:
        """The decoder's states. Its positions read z by attention, as in the authors' code.

        Attention can learn to ignore the part of z that is noise. Added to the positions as it is, z misleads the
        decoder at temperature 0, because in training most of its length is noise.
        """
        positions = self.target_embedding.positions_to(z.shape[1]).expand_as(z)
        x = positions + self.reading(positions, z, condition.mask[:, None, None])
        return self.decoder(x, condition.mask, condition.memory, condition.memory_mask, causal=False)

    def _common_noise(self, samples: int, length: int) -> Float[Tensor, "samples length dim"]:
        """Noise that is always the same at a position, whatever the length of the row."""
        # By blocks of `unit` positions, the least that lengths differ by: the first blocks of a long row are those of a
        # short one. Drawn on the CPU, so that all devices have the same.
        blocks = []
        for block in range(length // self.prior.unit):
            generator = torch.Generator().manual_seed(block)
            blocks.append(torch.randn(samples, self.prior.unit, self.config.dim, generator=generator, device="cpu"))
        return torch.cat(blocks, dim=1)


def _condition(memory: EncodedSource, mask: Bool[Tensor, "rows padded"]) -> Condition:
    """The condition of flow, posterior and decoder at these positions of targets."""
    return Condition(mask, memory.states, memory.mask)
