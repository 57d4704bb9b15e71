"""The Transformer (Vaswani et al. 2017), teacher and student, trained on whole targets and decoded token by token."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.encoder_decoder import EncoderDecoder
from seqdistill.models.family import FAMILIES
from seqdistill.models.layers import layers_of
from seqdistill.nn.cache import CacheRows, KeyValueCache, keep_groups
from seqdistill.nn.layers import DecoderLayer
from seqdistill.nn.losses import exact
from seqdistill.nn.output import OutputLayer
from seqdistill.vocabulary.ids import OURS, SpecialIds


class Transformer(EncoderDecoder):
    """Encoder and left-to-right decoder; the output layer is the target embedding, transposed."""

    traits = FAMILIES["transformer"].traits

    def __init__(
        self, config: TransformerConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS
    ) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding, self.encoder, self.decoder = layers_of(config)
        self.output = OutputLayer(config.target_vocab, bias=config.output_bias, scale=config.output_scale)

    def continued(
        self,
        memory: Float[Tensor, "batch source dim"],
        mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        first: Float[Tensor, "batch dim"] | None = None,
    ) -> Float[Tensor, "batch target width"]:
        """As `states`, from what `read` returned; `first`, if given, replaces the vector of each row's first token."""
        context, prompt = contexts(target, self.target_ids), len(self.target_ids.decoder_prompt)
        inputs = self.target_embedding(context, first=first)
        hidden = self.decoder(inputs, context != self.target_ids.pad, memory, mask, causal=True)
        # The states at the prompt would predict the rest of it and the start: they are cut off.
        return self.output.states(hidden[:, prompt:])

    def encode(
        self, source: Int[Tensor, "batch source"], first: Float[Tensor, " dim"] | None = None
    ) -> TransformerState:
        """The state before the first token, one row per sentence; `first` as in `continued`."""
        memory, mask = self.read(source)
        layers = [LayerState(KeyValueCache(), *layer.cross_attention.project(memory)) for layer in self._decoder_layers]
        state = TransformerState(layers, mask[:, None, None], first)
        return after_prompt(self, source, state)

    @property
    def _decoder_layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.decoder.layers))

    @torch.no_grad()
    def step(
        self, tokens: Int[Tensor, " rows"], state: TransformerState
    ) -> tuple[Float[Tensor, "rows vocab"], TransformerState]:
        """Reads each row's last token, returns the log-probabilities of the next; the given state is used up.

        Only for decoding: no gradient flows.
        """
        # Rows lie in groups of one sentence: the memory has a row a group, and cross-attention reads it with `group`
        # queries at once instead of copying it for every hypothesis.
        cache_rows = state.cache_rows
        # `first` stands in for the first token's vector, so only at position 0.
        first = None if state.length or state.first is None else state.first.expand(len(tokens), -1)
        x = self.target_embedding(tokens[:, None], state.length, first=first).view(
            cache_rows.groups, cache_rows.group, -1
        )
        state.length += 1
        cache_rows.open(like=x)
        for layer, stored in zip(self._decoder_layers, state.layers, strict=True):
            # (groups, group, dim); `written` is changed in place.
            x = layer.step(x, stored.written, cache_rows, stored.key, stored.value, state.visible)
        logits = exact(self.output(self.decoder.norm(x).flatten(0, 1), self.target_embedding.weight))
        return torch.log_softmax(logits, -1, out=logits), state


def contexts(target: Int[Tensor, "batch target"], ids: SpecialIds) -> Int[Tensor, "batch context"]:
    """What precedes every token of a target: the decoder's prompt and start, then the target without its last column.

    The target's first token is predicted from the start, which is column `len(ids.decoder_prompt)`.
    """
    # A target a b EOS without a prompt becomes BOS a b: place i holds what precedes token i.
    begin = target.new_tensor(ids.before_words)
    return torch.cat([begin.expand(len(target), -1), target[:, :-1]], dim=1)


def after_prompt(model: Any, source: Int[Tensor, "batch source"], state: Any) -> Any:
    """The state of an autoregressive model once each row has read the decoder's prompt."""
    for token in model.target_ids.decoder_prompt:
        _, state = model.step(source.new_full((len(source),), token), state)
    return state


class LayerState(NamedTuple):
    """What one decoder layer remembers, one row per group of sequences that translate the same sentence."""

    written: KeyValueCache
    """Of the tokens so far."""
    key: Float[Tensor, "groups heads source head_dim"]
    """Of the source."""
    value: Float[Tensor, "groups heads source head_dim"]


class TransformerState:
    """What the decoder remembers of the source and of the tokens written so far; `select` and `repeat` use it up."""

    def __init__(
        self,
        layers: list[LayerState],
        visible: Bool[Tensor, "groups 1 1 source"],
        first: Float[Tensor, " dim"] | None = None,
    ) -> None:
        self.layers = layers
        self.visible = visible
        self.first = first
        self.cache_rows = CacheRows(groups=len(visible))
        self.length = 0
        """Tokens read so far."""

    def repeat(self, n: int) -> TransformerState:
        """Makes a group of n rows of every row, side by side; nothing is copied."""
        self.cache_rows.repeat(n)
        return self

    def select(self, rows: Int[Tensor, " new_rows"]) -> TransformerState:
        """Keeps these rows in this order; they come in whole groups."""
        # Two kinds of moves: the mask in `cache_rows` follows the rows, all that is stored follows the groups. While no
        # sentence leaves, no group moves, and nothing stored is copied.
        groups = self.cache_rows.select(rows)
        self.visible = keep_groups(self.visible, groups)
        for number, (written, key, value) in enumerate(self.layers):
            written.select(groups)
            self.layers[number] = LayerState(written, keep_groups(key, groups), keep_groups(value, groups))
        return self
