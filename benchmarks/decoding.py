"""Decodes a corpus with beam 5 and the same weights: ours, transformers' generate, CTranslate2 called directly.

    python -m benchmarks.decoding [--sentences 1536] [--rounds 4]

Every system gets token ids and returns token ids. The peers' settings are searched first (transformers: batch size;
CTranslate2: precision, workers x threads, batch size), ours are the defaults. Then all run in turn, in an order that
rotates from round to round, and each ratio is the median over rounds of times within one round. Needs `transformers`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ctranslate2
import torch
import transformers

from benchmarks.decoding_model import make_model, make_sources, make_tokenizers
from evidence.rounds import Turn, medians, ratios, rounds
from evidence.script import arguments, execute, record, tell
from seqdistill.data.batches import collate_sources
from seqdistill.hypothesis import longest_first
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.models.saved import load_model, save_model
from seqdistill.native.search import length_limit
from seqdistill.nn.layers import sinusoids
from seqdistill.options import DecodingOptions
from seqdistill.runtime.conversion import convert, pieces
from seqdistill.runtime.engines import load_engine
from seqdistill.threads import usable_cores
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, PAD

OPTIONS = DecodingOptions(beam=5)
Outputs = list[tuple[int, ...]]
Decoder = Callable[[Sequence[Sequence[int]]], Outputs]


class System(NamedTuple):
    """One way of decoding, ready to run."""

    name: str
    setting: str
    decode: Decoder


def main() -> None:
    given = arguments(__doc__, sentences=1536, rounds=4).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model_dir = Path(folder) / "model"
        save_model(make_model(), make_tokenizers(), model_dir)
        sources = make_sources(given.sentences, seed=11)
        systems = ready_systems(model_dir, sources)
        outputs = {system.name: system.decode(sources) for system in systems}
        check_agreement(outputs)
        tasks = {system.name: partial(system.decode, sources) for system in systems}
        turns = list(rounds(tasks, given.rounds, warmup=0, tell=tell))
    report(systems, outputs, turns, sources, given)


def ready_systems(model_dir: Path, sources: Sequence[Sequence[int]]) -> list[System]:
    """Both peers at their best setting, and our engines as they come."""
    some = sources[: max(64, len(sources) // 3)]
    loaded = load_model(model_dir)
    assert isinstance(loaded.model, Transformer)
    convert(loaded, model_dir / "direct")
    return [
        fastest(ctranslate2_settings(model_dir / "direct", pieces(loaded.tokenizers.source)), some),
        fastest(transformers_settings(pegasus(loaded.model)), some[: len(some) // 2]),
        engine("ours, CTranslate2 engine", "defaults", load_engine("ctranslate2", model_dir)),
        engine(
            "ours, CTranslate2 engine float32", "float32", load_engine("ctranslate2", model_dir, compute_type="float32")
        ),
        engine("ours, torch engine", "defaults, float32", load_engine("torch", model_dir)),
    ]


def engine(name: str, setting: str, ours: Any) -> System:
    """One of our engines, best hypothesis only."""

    def decode(sources: Sequence[Sequence[int]]) -> Outputs:
        return [found[0].tokens for found in ours.decode_ids(sources, OPTIONS)]

    return System(name, setting, decode)


def ctranslate2_settings(directory: Path, names: list[str]) -> Iterable[System]:
    """CTranslate2's own interface, in one call: it sorts by length and makes the batches."""
    forbidden = [[names[token]] for token in OURS.never_written]
    ids = {name: token for token, name in enumerate(names)}
    cores = usable_cores()
    ways = ((cores, 1), (1, cores))
    for compute_type, (workers, threads) in itertools.product(("int8", "int8_float32", "float32"), ways):
        translator = ctranslate2.Translator(
            str(directory), compute_type=compute_type, inter_threads=workers, intra_threads=threads
        )
        for size, kind in [*((n, "tokens") for n in (512, 1024, 2048, 4096)), (32, "examples"), (64, "examples")]:

            def decode(sources: Sequence[Sequence[int]], size: int = size, kind: str = kind, run=translator) -> Outputs:
                results = run.translate_batch(
                    [[names[token] for token in source] for source in sources],
                    max_batch_size=size,
                    batch_type=kind,
                    beam_size=OPTIONS.beam,
                    length_penalty=OPTIONS.length_penalty,
                    max_decoding_length=max(length_limit(len(source), OPTIONS) for source in sources),
                    suppress_sequences=forbidden,
                )
                return [tuple(ids[word] for word in result.hypotheses[0]) for result in results]

            setting = f"{compute_type}, {workers} workers x {threads} threads, {size} {kind} a batch"
            yield System("CTranslate2", setting, decode)


def transformers_settings(model: Any) -> Iterable[System]:
    """`generate` on batches of similar length; early_stopping=True is its faster choice, and CTranslate2's rule."""
    for size in (16, 32, 64, 128):

        def decode(sources: Sequence[Sequence[int]], size: int = size) -> Outputs:
            torch.set_num_threads(usable_cores())
            outputs: dict[int, tuple[int, ...]] = {}
            order = longest_first(sources)
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                batch = collate_sources([sources[row] for row in rows])
                found = model.generate(
                    batch,
                    attention_mask=(batch != PAD).long(),
                    num_beams=OPTIONS.beam,
                    length_penalty=OPTIONS.length_penalty,
                    early_stopping=True,
                    max_new_tokens=length_limit(len(sources[rows[0]]), OPTIONS),
                    suppress_tokens=list(OURS.never_written),
                )
                outputs |= zip(rows, map(words_of, found[:, 1:].tolist()), strict=True)
            return [outputs[row] for row in range(len(sources))]

        yield System("transformers", f"batches of {size}, {usable_cores()} threads", decode)


def words_of(row: list[int]) -> tuple[int, ...]:
    """Everything before EOS or padding."""
    return tuple(itertools.takewhile(lambda token: token not in (EOS, PAD), row))


def fastest(settings: Iterable[System], sources: Sequence[Sequence[int]]) -> System:
    """Runs each setting twice and returns the one with the shortest run."""
    best, least = None, float("inf")
    for system in settings:
        system.decode(sources[:32])
        seconds = min(turn.seconds for turn in rounds({system.name: partial(system.decode, sources)}, 2, warmup=0))
        print(f"  {system.name}: {system.setting}: {len(sources) / seconds:.1f} sentences/s", flush=True)
        if seconds < least:
            best, least = system, seconds
    assert best is not None
    return best


def check_agreement(outputs: dict[str, Outputs]) -> None:
    """The same weights must write the same words: all float32 systems agree with ours on nearly all sentences."""
    ours = outputs["ours, torch engine"]
    for name in ("transformers", "ours, CTranslate2 engine float32"):
        same = statistics.mean(one == other for one, other in zip(ours, outputs[name], strict=True))
        print(f"  {name} and our torch engine write the same on {same:.1%} of the sentences")
        assert same > 0.9, f"{name} does not decode the same model"


def report(
    systems: Sequence[System],
    outputs: dict[str, Outputs],
    turns: Sequence[Turn[Outputs]],
    sources: Sequence[Sequence[int]],
    given: argparse.Namespace,
) -> None:
    """Prints and writes sentences/s and the ratios."""
    seconds = medians(turns)
    rows = [
        {
            "system": system.name,
            "setting": system.setting,
            "sentences_per_second": round(len(sources) / seconds[system.name], 1),
            "tokens_per_sentence": round(statistics.mean(map(len, outputs[system.name])), 2),
        }
        for system in systems
    ]
    for row in rows:
        print(row)

    def ratio(ours: str, peer: str) -> float:
        return statistics.median(ratios(turns, peer, ours))

    figures = {
        "ratio_vs_transformers": ratio("ours, CTranslate2 engine", "transformers"),
        "ratio_vs_ctranslate2": ratio("ours, CTranslate2 engine", "CTranslate2"),
        "native_ratio_vs_transformers": ratio("ours, torch engine", "transformers"),
        "native_ratio_vs_ctranslate2": ratio("ours, torch engine", "CTranslate2"),
        "native_ratio_vs_ctranslate2_float32": ratio("ours, torch engine", "ours, CTranslate2 engine float32"),
    }
    claim = (
        f"Speed of decoding {len(sources):,} sentences of 15 words with beam 5 (3+3 layers of width 256, 8,000 words, "
        "the same weights), over that of transformers' generate and of CTranslate2 called directly, both at their best"
    )
    record("bench-decoding", given, claim=claim, figures=figures, rows=rows)


def pegasus(model: Transformer) -> Any:
    """Our weights in transformers' Pegasus: norm first, sinusoidal positions, scaled embeddings, ReLU, like ours."""
    config = model.config
    theirs: Any = transformers.PegasusForConditionalGeneration(
        transformers.PegasusConfig(
            vocab_size=config.target_vocab,
            d_model=config.dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            encoder_ffn_dim=config.ffn_dim,
            decoder_ffn_dim=config.ffn_dim,
            activation_function="relu",
            scale_embedding=True,
            max_position_embeddings=512,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=BOS,
            forced_eos_token_id=None,
        )
    ).eval()
    theirs.generation_config.forced_eos_token_id = None
    theirs.model.encoder.embed_tokens = torch.nn.Embedding(config.source_vocab, config.dim)
    with torch.no_grad():
        theirs.model.encoder.embed_tokens.weight.copy_(model.source_embedding.weight)
        theirs.model.shared.weight.copy_(model.target_embedding.weight)
        for ours, other in ((model.encoder, theirs.model.encoder), (model.decoder, theirs.model.decoder)):
            other.embed_positions.weight.copy_(sinusoids(512, config.dim))
            copy_weights(ours.norm, other.layer_norm)
            for layer, theirs_layer in zip(ours.layers, other.layers, strict=True):
                copy_layer(layer, theirs_layer)
    return theirs


def copy_layer(ours: Any, theirs: Any) -> None:
    """One encoder or decoder layer."""
    queries = ours.self_attention.query_key_value
    parts = zip(queries.weight.chunk(3), queries.bias.chunk(3), strict=True)
    for part, (weight, bias) in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
        getattr(theirs.self_attn, part).weight.copy_(weight)
        getattr(theirs.self_attn, part).bias.copy_(bias)
    copy_weights(ours.self_attention.output, theirs.self_attn.out_proj)
    copy_weights(ours.around_self.norm, theirs.self_attn_layer_norm)
    if hasattr(ours, "cross_attention"):
        cross = ours.cross_attention
        copy_weights(cross.query, theirs.encoder_attn.q_proj)
        copy_weights(cross.output, theirs.encoder_attn.out_proj)
        parts = zip(cross.key_value.weight.chunk(2), cross.key_value.bias.chunk(2), strict=True)
        for part, (weight, bias) in zip(("k_proj", "v_proj"), parts, strict=True):
            getattr(theirs.encoder_attn, part).weight.copy_(weight)
            getattr(theirs.encoder_attn, part).bias.copy_(bias)
        copy_weights(ours.around_cross.norm, theirs.encoder_attn_layer_norm)
    copy_weights(ours.feed_forward.inner, theirs.fc1)
    copy_weights(ours.feed_forward.outer, theirs.fc2)
    copy_weights(ours.around_feed_forward.norm, theirs.final_layer_norm)


def copy_weights(ours: Any, theirs: Any) -> None:
    """Weight and bias of a linear layer or a norm."""
    theirs.weight.copy_(ours.weight)
    theirs.bias.copy_(ours.bias)


if __name__ == "__main__":
    execute(main)
