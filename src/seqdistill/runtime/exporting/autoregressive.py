"""Models that write left to right, as parts: Transformers, the expert of a mixture that writes, RNNs and hybrids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from seqdistill.models.autoregressive.encoder_decoder import EncoderDecoder
from seqdistill.models.autoregressive.hybrid import Hybrid
from seqdistill.models.autoregressive.mixture import Mixture
from seqdistill.models.autoregressive.rnn import RNN, Stack
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.nn.recurrent import GRU, LSTM, SRU
from seqdistill.nn.ssru import SSRU
from seqdistill.runtime.exporting.parts import Part

RecurrentCell = SRU | SSRU | GRU | LSTM


def transformer_parts(model: Transformer) -> Iterator[Part]:
    """Embeddings, encoder, decoder, and the output layer's bias where it has one."""
    yield from embedding_parts(model)
    yield from module_parts("encoder", model.encoder)
    yield from module_parts("decoder", model.decoder)
    yield from _output_parts(model)


def mixture_parts(model: Mixture) -> Iterator[Part]:
    """The Transformer, and as `first` what the expert that writes reads in place of the first token's vector."""
    yield from transformer_parts(model.transformer)
    yield _vector("first", model.start)


def hybrid_parts(model: Hybrid) -> Iterator[Part]:
    """As a Transformer, with a recurrence in each decoder layer."""
    yield from embedding_parts(model)
    yield from module_parts("encoder", model.encoder)
    for number, layer in enumerate(model.decoder.layers):
        name = f"decoder.layers.{number}"
        yield from cell_parts(f"{name}.recurrence", cast(RecurrentCell, layer.recurrence))
        for child, module in layer.named_children():
            if child != "recurrence":
                yield from module_parts(f"{name}.{child}", module)
    yield from module_parts("decoder.norm", model.decoder.norm)
    yield from _output_parts(model)


def rnn_parts(model: RNN) -> Iterator[Part]:
    """Embeddings, the layers of encoder and decoder, and what follows them."""
    yield from embedding_parts(model)
    for name, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        yield from _stack_parts(name, stack)
    for name in ("key", "attentional", "output"):
        yield from module_parts(name, getattr(model, name))


def embedding_parts(model: EncoderDecoder | RNN) -> Iterator[Part]:
    """The word vectors of both sides; those of the target alone where the sides share them."""
    source, target = model.source_embedding.weight, model.target_embedding.weight
    yield _matrix("target_embedding.weight", target)
    if source is not target:
        yield _matrix("source_embedding.weight", source)


def module_parts(name: str, module: nn.Module) -> Iterator[Part]:
    """All weights of a module under their names: those of two dimensions are matrices of products."""
    for key, weight in module.named_parameters(prefix=name):
        yield _matrix(key, weight) if weight.dim() == 2 else _vector(key, weight)


def cell_parts(name: str, cell: RecurrentCell) -> Iterator[Part]:
    """A recurrent layer, each direction D on its own, with the names of cpp/cells.h.

    weight.D and bias.D give all gates side by side from the input; recurrent.D is the vectors of an SRU's gates or the
    matrix of a GRU's or an LSTM's, which has recurrent_bias.D.
    """
    for direction in range(cell.directions):
        if isinstance(cell, SRU | SSRU):
            yield _matrix(f"{name}.weight.{direction}", cell.weight[direction].T)
            yield _vector(f"{name}.bias.{direction}", _gate_biases(cell, direction))
            if isinstance(cell, SRU):
                yield _vector(f"{name}.recurrent.{direction}", cell.recurrent[direction])
            continue
        weights = (cell.gru if isinstance(cell, GRU) else cell.lstm).all_weights[direction]
        for part, weight in zip(("weight", "recurrent", "bias", "recurrent_bias"), weights, strict=True):
            make = _matrix if weight.dim() == 2 else _vector
            yield make(f"{name}.{part}.{direction}", weight)


def _gate_biases(cell: SRU | SSRU, direction: int) -> Tensor:
    """Of all outputs of the input's product: the candidate comes first and has none, nor has an SRU's fourth matrix."""
    biases = cell.bias[direction].flatten()
    after = cell.weight.shape[2] - cell.hidden_dim - len(biases)
    return nn.functional.pad(biases, (cell.hidden_dim, after))


def _stack_parts(name: str, stack: Stack) -> Iterator[Part]:
    for number, layer in enumerate(stack.layers):
        yield from cell_parts(f"{name}.layers.{number}", cast(RecurrentCell, layer))
    yield from module_parts(f"{name}.projections", stack.projections)


def _output_parts(model: Transformer | Hybrid) -> Iterator[Part]:
    if model.output.bias is not None:
        yield _vector("output.bias", model.output.bias)


def _matrix(name: str, weight: Tensor) -> Part:
    return Part(name, weight.detach(), True)


def _vector(name: str, weight: Tensor) -> Part:
    return Part(name, weight.detach().reshape(-1), False)
