"""Hybrid students: a Transformer encoder, one pass over all positions, and a recurrent decoder, one small step a token.

Kim et al. 2019; Bogoychev et al. 2020: Marian's "tiny" has six encoder layers and two SSRU decoder layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqdistill.models.autoregressive.configs import HybridConfig
from seqdistill.models.autoregressive.encoder_decoder import EncoderDecoder
from seqdistill.models.autoregressive.rnn import CELLS
from seqdistill.models.autoregressive.transformer import after_prompt, contexts
from seqdistill.models.family import FAMILIES
from seqdistill.models.layers import embeddings_of, encoder_of
from seqdistill.nn.cache import keep_groups
from seqdistill.nn.losses import exact
from seqdistill.nn.output import OutputLayer
from seqdistill.nn.recurrent_decoder import KeyValue, RecurrentDecoder
from seqdistill.vocabulary.ids import OURS, SpecialIds


class HybridState(NamedTuple):
    """One row per sequence being written; what attention reads is stored once per group of rows."""

    cells: Float[Tensor, "layers rows states dim"]
    stored: list[KeyValue | None]
    """Of the source, for each layer that attends."""
    visible: Bool[Tensor, "groups 1 1 source"]
    """False where the source is padding."""
    length: int
    """Tokens read so far."""

    def repeat(self, n: int) -> HybridState:
        return self._replace(cells=self.cells.repeat_interleave(n, dim=1))

    def select(self, rows: Int[Tensor, " new_rows"]) -> HybridState:
        # Rows come in whole groups, so the first of each says which sentence's memory the group reads.
        group = self.cells.shape[1] // len(self.visible)
        groups = rows[::group] // group
        stored = [
            None if pair is None else (keep_groups(pair[0], groups), keep_groups(pair[1], groups))
            for pair in self.stored
        ]
        return HybridState(self.cells[:, rows], stored, keep_groups(self.visible, groups), self.length)


class Hybrid(EncoderDecoder):
    """Transformer encoder and recurrent decoder; the output layer is the target embedding, transposed."""

    traits = FAMILIES["hybrid"].traits

    def __init__(self, config: HybridConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.source_embedding, self.target_embedding = embeddings_of(config)
        self.encoder = encoder_of(config)
        self.decoder = RecurrentDecoder(
            CELLS[config.cell],
            config.decoder_layers,
            config.dim,
            config.ffn_dim,
            config.heads,
            config.dropout,
            attention=config.attention,
            norm_first=config.norm_first,
        )
        self.output = OutputLayer(config.target_vocab, bias=config.output_bias, scale=config.output_scale)

    def continued(
        self,
        memory: Float[Tensor, "batch source dim"],
        mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target width"]:
        """As `states`, from what `read` returned."""
        context, prompt = contexts(target, self.target_ids), len(self.target_ids.decoder_prompt)
        return self.output.states(self.decoder(self.target_embedding(context), memory, mask)[:, prompt:])

    def encode(self, source: Int[Tensor, "batch source"]) -> HybridState:
        """The state before the first token, one row per sentence."""
        memory, mask = self.read(source)
        cells = self.decoder.initial(memory)
        state = HybridState(cells, self.decoder.project(memory), mask[:, None, None], 0)
        return after_prompt(self, source, state)

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, " rows"], state: HybridState) -> tuple[Float[Tensor, "rows vocab"], HybridState]:
        """Reads each row's last token, returns the log-probabilities of the next; only for decoding."""
        x = self.target_embedding(tokens[:, None], state.length)[:, 0]
        x, cells = self.decoder.step(x, state.cells, state.stored, state.visible)
        logits = exact(self.output(x, self.target_embedding.weight))
        return torch.log_softmax(logits, -1, out=logits), state._replace(cells=cells, length=state.length + 1)
