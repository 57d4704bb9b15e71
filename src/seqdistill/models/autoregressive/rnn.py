"""Recurrent encoder-decoder, the paper's student: SRU, SSRU, GRU or LSTM (Lin et al. 2020, sec. 5 and A.2)."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seqdistill.models.autoregressive.configs import RNNConfig
from seqdistill.models.autoregressive.encoder_decoder import StatesModel
from seqdistill.models.autoregressive.transformer import after_prompt, contexts
from seqdistill.models.family import FAMILIES
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import exact
from seqdistill.nn.recurrent import GRU, LSTM, SRU, RecurrentLayer
from seqdistill.nn.ssru import SSRU
from seqdistill.vocabulary.ids import OURS, SpecialIds

CELLS = {"sru": SRU, "ssru": SSRU, "gru": GRU, "lstm": LSTM}


class RNNState(NamedTuple):
    """One row per sequence being written; what attention reads is stored once per group of rows."""

    cells: Float[Tensor, "layers rows states dim"]
    keys: Float[Tensor, "groups source dim"]
    values: Float[Tensor, "groups source dim"]
    attended: Bool[Tensor, "groups 1 source"]
    """False where the source is padding."""

    def repeat(self, n: int) -> RNNState:
        # Only what a row has for itself: keys and values stay one for each group.
        return self._replace(cells=self.cells.repeat_interleave(n, dim=1))

    def select(self, rows: Int[Tensor, " new_rows"]) -> RNNState:
        # Every `group`-th row names its group: in groups of 2, the rows 4 5 0 0 come from groups 2 and 0.
        group = self.cells.shape[1] // self.keys.shape[0]
        sentences = rows[::group] // group
        selected = self._replace(cells=self.cells[:, rows])
        # All groups, in their places: the memory, which is large, need not be copied.
        if len(sentences) == len(self.keys) and bool((sentences.diff() == 1).all()):
            return selected
        return selected._replace(
            keys=self.keys[sentences], values=self.values[sentences], attended=self.attended[sentences]
        )


class Stack(nn.Module):
    """Recurrent layers on top of each other, with dropout before each and a linear map between two where asked."""

    def __init__(self, config: RNNConfig, *, bidirectional: bool) -> None:
        super().__init__()
        gates = {"highway_bias": config.highway_bias, "rescale": config.rescale} if config.cell == "sru" else {}
        between = config.projection or config.dim
        self.layers = nn.ModuleList(
            CELLS[config.cell](
                between if depth else config.embedding_dim, config.dim, bidirectional=bidirectional, **gates
            )
            for depth in range(config.layers)
        )
        self.projections = nn.ModuleList(
            nn.Linear(config.dim, between, bias=False) if config.projection else nn.Identity()
            for _ in range(config.layers - 1)
        )
        self.dropout = SharedDropout(config.dropout)

    def forward(
        self,
        inputs: Float[Tensor, "time batch input_dim"],
        initial: Float[Tensor, "layers batch states dim"] | None = None,
        padding: Bool[Tensor, "time batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "layers batch states dim"]]:
        finals = []
        for depth, layer in enumerate(self.layers):
            if depth:
                inputs = self.projections[depth - 1](inputs)
            inputs, final = layer(self.dropout(inputs), None if initial is None else initial[depth], padding)
            finals.append(final)
        return inputs, torch.stack(finals)

    def step(
        self, inputs: Float[Tensor, "batch input_dim"], cells: Float[Tensor, "layers batch states dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "layers batch states dim"]]:
        """One more token, without dropout."""
        finals = []
        for depth, (layer, cell) in enumerate(zip(cast(list[RecurrentLayer], self.layers), cells, strict=True)):
            if depth:
                inputs = self.projections[depth - 1](inputs)
            inputs, final = layer.step(inputs, cell)
            finals.append(final)
        return inputs, torch.stack(finals)


class SharedDropout(nn.Module):
    """Dropout with one mask for all time steps of a sequence (Gal and Ghahramani 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, inputs: Float[Tensor, "time batch dim"]) -> Float[Tensor, "time batch dim"]:
        if not self.training or self.rate == 0:
            return inputs
        return inputs * F.dropout(torch.ones_like(inputs[0]), self.rate)


class RNN(StatesModel):
    """Bidirectional encoder, left-to-right decoder, one attention after the decoder's layers, no input feeding.

    With h the decoder's output and m_s the encoder's: context = sum_s softmax_s(h . W_k m_s / sqrt(dim)) m_s, then
    tanh(W [h; context]), projected to the embedding's width, then the target embedding as output layer. Maps of the
    query and of the values are left out: W_k and W can express them.
    """

    traits = FAMILIES["rnn"].traits

    def __init__(self, config: RNNConfig, *, source_ids: SpecialIds = OURS, target_ids: SpecialIds = OURS) -> None:
        super().__init__()
        self.config, self.source_ids, self.target_ids = config, source_ids, target_ids
        self.target_embedding = nn.Embedding(config.target_vocab, config.embedding_dim)
        self.source_embedding = (
            self.target_embedding if config.tied else nn.Embedding(config.source_vocab, config.embedding_dim)
        )
        self.encoder = Stack(config, bidirectional=True)
        self.decoder = Stack(config, bidirectional=False)
        self.key = nn.Linear(config.dim, config.dim, bias=False)
        self.attentional = nn.Linear(2 * config.dim, config.dim)
        self.output = nn.Linear(config.dim, config.embedding_dim)
        self.product_input = ProductInput()
        self.dropout = SharedDropout(config.dropout)
        for embedding in dict.fromkeys([self.target_embedding, self.source_embedding]):
            nn.init.normal_(embedding.weight, std=1 / math.sqrt(config.embedding_dim))

    def encode(self, source: Int[Tensor, "batch source"]) -> RNNState:
        """The state before the first token, one row per sentence."""
        state = self._read(source)
        return after_prompt(self, source, state)

    def _read(self, source: Int[Tensor, "batch source"]) -> RNNState:
        """Reads the source; keys of the attention are computed here, once."""
        # Recurrent layers are time-major, attention is batch-major: `source.T` going in, `values` coming out.
        padding = (source == self.source_ids.pad).T
        memory, cells = self.encoder(self.source_embedding(source.T), padding=padding)
        values = memory.transpose(0, 1)
        return RNNState(cells, self.key(values), values, ~padding.T[:, None])

    def states(
        self, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target embedding_dim"]:
        """States that predict every token of a target: times the transpose of `output_weight` they give the logits."""
        state, context = self._read(source), contexts(target, self.target_ids)
        # Each decoder layer starts from the final cells of its encoder layer, both directions side by side.
        decoded, _ = self.decoder(self.target_embedding(context.T), state.cells)
        return self._attend(decoded[len(self.target_ids.decoder_prompt) :].transpose(0, 1), state)

    @property
    def output_weight(self) -> Float[Tensor, "vocab dim"]:
        """The output layer: states times its transpose give the logits."""
        return self.target_embedding.weight

    def step(self, tokens: Int[Tensor, " rows"], state: RNNState) -> tuple[Float[Tensor, "rows vocab"], RNNState]:
        """Log-probabilities of the token after each row's last one, and the state after reading that one.

        Only for decoding, in evaluation mode.
        """
        decoded, cells = self.decoder.step(self.target_embedding(tokens), state.cells)
        # (rows, dim) -> (groups, group, dim): the rows of a sentence are queries to one memory.
        grouped = decoded.unflatten(0, (len(state.keys), -1))
        states = self._attend(grouped, state).flatten(0, 1)
        logits = exact(F.linear(states, self.target_embedding.weight))
        return logits.log_softmax(-1), state._replace(cells=cells)

    def _attend(
        self, decoded: Float[Tensor, "groups queries dim"], state: RNNState
    ) -> Float[Tensor, "groups queries embedding_dim"]:
        context = F.scaled_dot_product_attention(decoded, state.keys, state.values, attn_mask=state.attended)
        attentional = torch.tanh(self.attentional(torch.cat([decoded, context], -1)))
        # `SharedDropout` takes its first dimension for time: (groups, queries, dim) is turned round and back.
        states = self.output(self.dropout(attentional.transpose(0, 1)).transpose(0, 1))
        return self.product_input(states)
