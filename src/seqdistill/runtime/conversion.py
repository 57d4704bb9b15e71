"""Our Transformer, or an expert of a mixture, as a CTranslate2 model: every weight has its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec
from ctranslate2.specs.transformer_spec import FeedForwardSpec
from jaxtyping import Float
from torch import Tensor, nn

from seqdistill.exported import LISTING
from seqdistill.models.autoregressive.mixture import Mixture
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.models.family import exporter
from seqdistill.models.saved import TOKENIZER, LoadedModel, family_of
from seqdistill.nn.attention import CrossAttention, SelfAttention
from seqdistill.nn.layers import FeedForward, sinusoids
from seqdistill.runtime.converted import FORMAT, VMAP
from seqdistill.seals import listing, write_sealed
from seqdistill.vocabulary.vocabularies import Vocabularies
from seqdistill.vocabulary.vocabulary import Vocabulary

MAX_POSITIONS = 4096
"""Positions a converted model knows, special ids included; our own model knows any number."""


def convert(loaded: LoadedModel, directory: Path, *, precision: str = "float32") -> None:
    """Writes `directory` as `converted.py` describes it, in one rename; in float32 its outputs are the model's.

    Sources must be given without EOS. An existing directory is left as it is.

    Args:
        precision: of the weights on disk: float32, bfloat16, int8 or another of CTranslate2's.

    Raises:
        UserError: CTranslate2 does not run the model's family, or the directory cannot be written.
    """
    if directory.exists():
        return
    with _saved_beside(loaded, directory, precision=precision) as beside:
        try:
            os.rename(beside, directory)  # noqa: PTH104 - Path.rename is the same call; this one says it fails if full
        except OSError:
            if not directory.exists():  # otherwise another process has just written the same
                raise


def write_conversion(
    loaded: LoadedModel, directory: Path, *, precision: str, write_vmap: Callable[[Path], None] | None = None
) -> None:
    """The same into a directory that is there; LISTING comes last.

    Args:
        precision: as `convert`.
        write_vmap: writes CTranslate2's map of words at a path; it is VMAP then.

    Raises:
        UserError: as `convert`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / LISTING).unlink(missing_ok=True)
    with _saved_beside(loaded, directory / "model", precision=precision, write_vmap=write_vmap) as beside:
        (directory / TOKENIZER).mkdir(exist_ok=True)
        for name in [*_files(beside, without=LISTING), LISTING]:
            (beside / name).replace(directory / name)


@contextmanager
def _saved_beside(
    loaded: LoadedModel,
    directory: Path,
    *,
    precision: str,
    write_vmap: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """A new folder beside a directory with a converted model, removed unless it is renamed."""
    family = family_of(loaded.model)
    spec = exporter(family, "ctranslate2")(loaded.model, loaded.tokenizers, quantization=precision)
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".part", dir=directory.parent))
    try:
        spec.save(str(beside))
        if write_vmap is not None:
            write_vmap(beside / VMAP)
        loaded.tokenizers.save(beside / TOKENIZER)
        description: dict[str, Any] = {
            "format": FORMAT,
            **loaded.described(),
            "precision": precision,
            "files": listing(beside, _files(beside)),
        }
        write_sealed(beside / LISTING, description)
        beside.chmod(0o755)
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _files(folder: Path, *, without: str = "") -> list[str]:
    """All files of a folder by their paths in it, but one."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted({path.relative_to(folder).as_posix() for path in paths} - {without})


def mixture_spec(model: Mixture, tokenizers: Vocabularies, *, quantization: str | None = None) -> TransformerSpec:
    """The expert that writes, as a Transformer; experts differ in the first vector they read."""
    return transformer_spec(model.transformer, tokenizers, start=model.start, quantization=quantization)


def transformer_spec(
    model: Transformer,
    tokenizers: Vocabularies,
    *,
    start: Float[Tensor, " dim"] | None = None,
    quantization: str | None = None,
) -> TransformerSpec:
    """The specification with all weights, checked by CTranslate2 for completeness.

    Args:
        start: what the decoder reads in place of BOS's vector; BOS's own if absent.
        quantization: of the weights on disk, as CTranslate2 names it.
    """
    config = model.config
    spec: Any = TransformerSpec.from_config(  # Any: CTranslate2 declares its fields as None
        (config.encoder_layers, config.decoder_layers), config.heads, pre_norm=config.norm_first
    )
    encoder: Any = model.encoder
    decoder: Any = model.decoder
    # Our module and theirs have the same sublayers in the same order, and linear layers of the same shape, so weights
    # are named one by one and copied as they are; what is missing, `validate` lists.
    for part, source in ((spec.encoder, encoder), (spec.decoder, decoder)):
        part.position_encodings.encodings = sinusoids(MAX_POSITIONS, config.dim).numpy()
        if config.norm_first:
            _set_norm(part.layer_norm, source.norm)
        for layer_spec, layer in zip(part.layer, source.layers, strict=True):
            _set_self_attention(layer_spec.self_attention, layer.self_attention, layer.around_self.norm)
            _set_feed_forward(layer_spec.ffn, layer.feed_forward, layer.around_feed_forward.norm)
    for layer_spec, layer in zip(spec.decoder.layer, decoder.layers, strict=True):
        _set_cross_attention(layer_spec.attention, layer.cross_attention, layer.around_cross.norm)
    spec.encoder.embeddings[0].weight = _array(model.source_embedding.weight)
    spec.decoder.embeddings.weight = _array(model.target_embedding.weight)
    if start is not None:  # of what is read only, not of what can be written
        spec.decoder.embeddings.weight = spec.decoder.embeddings.weight.copy()
        spec.decoder.embeddings.weight[model.target_ids.before_words[0]] = _array(start)
    scale, bias = config.output_scale, model.output.bias
    spec.decoder.projection.weight = _array(
        model.target_embedding.weight if scale == 1 else scale * model.target_embedding.weight
    )
    if bias is not None:
        spec.decoder.projection.bias = _array(bias)
    _set_vocabularies(spec, tokenizers)
    spec.config.layer_norm_epsilon = decoder.layers[0].around_self.norm.eps
    spec.validate()
    spec.optimize(quantization=quantization)
    return spec


def pieces(tokenizer: Vocabulary) -> list[str]:
    """The piece of every id: what CTranslate2 calls a token."""
    return [tokenizer.piece(token) for token in range(len(tokenizer))]


def _set_vocabularies(spec: Any, tokenizers: Vocabularies) -> None:
    source, target = pieces(tokenizers.source), pieces(tokenizers.target)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    ids = tokenizers.target.ids
    for name in ("unk", "bos", "eos"):  # it wants a symbol for each; EOS stands for those the vocabulary does not have
        token = getattr(ids, name)
        setattr(spec.config, f"{name}_token", target[ids.eos if token is None else token])
    spec.config.decoder_start_token = target[ids.before_words[0]]
    spec.config.add_source_eos = True


def _set_self_attention(spec: MultiHeadAttentionSpec, attention: SelfAttention, norm: nn.LayerNorm) -> None:
    _set_norm(spec.layer_norm, norm)
    for part, linear in zip(spec.linear, (attention.query_key_value, attention.output), strict=True):
        _set_linear(part, linear)


def _set_cross_attention(spec: MultiHeadAttentionSpec, attention: CrossAttention, norm: nn.LayerNorm) -> None:
    _set_norm(spec.layer_norm, norm)
    for part, linear in zip(spec.linear, (attention.query, attention.key_value, attention.output), strict=True):
        _set_linear(part, linear)


def _set_feed_forward(spec: FeedForwardSpec, feed_forward: FeedForward, norm: nn.LayerNorm) -> None:
    _set_norm(spec.layer_norm, norm)
    _set_linear(spec.linear_0, feed_forward.inner)
    _set_linear(spec.linear_1, feed_forward.outer)


def _set_norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _set_linear(spec: Any, linear: nn.Linear) -> None:
    spec.weight, spec.bias = _array(linear.weight), _array(linear.bias)


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().cpu().numpy().copy()  # CTranslate2 quantises in place
