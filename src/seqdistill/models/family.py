"""Every family of models: one entry says all that the rest of the program knows of it. Nothing here imports torch.

To add a family: write its model in a file of its own and its config beside the others of its kind, and give it an entry
in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any, NamedTuple

from seqdistill.errors import UserError, nearest
from seqdistill.models.autoregressive.configs import HybridConfig, MixtureConfig, RNNConfig, TransformerConfig
from seqdistill.models.nonautoregressive.configs import (
    CMLMConfig,
    FlowSeqConfig,
    INATConfig,
    InsertionTransformerConfig,
    LevenshteinTransformerConfig,
    NATConfig,
)
from seqdistill.models.sizes import config_of
from seqdistill.models.traits import Traits


class Preset(NamedTuple):
    """Sizes that have a name in the literature."""

    description: str
    sizes: Mapping[str, Any] = {}
    """Fields of the config that differ from its defaults."""


@dataclass(frozen=True)
class Family:
    """Models of one class."""

    model: str
    """The class, as "module:class"; imported where it is made."""
    config: type
    presets: Mapping[str, Preset]
    """By the name that a user gives; the first has the config's defaults."""
    traits: Traits = field(default_factory=Traits)
    exporters: Mapping[str, str] = field(default_factory=dict)
    """Engine -> what makes its model of ours, as "module:function"."""
    not_run: Mapping[str, str] = field(default_factory=dict)
    """Engine -> why it does not run the family, where there is more to say than that."""
    check_training: Callable[..., None] | None = None
    """Raises UserError for a training that can come to nothing; takes the config, `max_updates`, and `patience` in
    updates (0: none)."""

    @property
    def options(self) -> set[str]:
        """Fields that `train --set` sets."""
        return {each.name for each in fields(self.config)} - {"source_vocab", "target_vocab"}


def _sizes(dim: int, ffn_dim: int, layers: int, heads: int, dropout: float) -> dict[str, Any]:
    layers_of = {"encoder_layers": layers, "decoder_layers": layers}
    return {"dim": dim, "ffn_dim": ffn_dim, **layers_of, "heads": heads, "dropout": dropout}


_ZHOU = "Zhou et al. 2020, table 5"
_CONVERSION = "seqdistill.runtime.conversion"
_EXPORTING = "seqdistill.runtime.exporting.autoregressive"
_AT_ONCE = {"compiled": "seqdistill.runtime.exporting.nonautoregressive:nonautoregressive_parts"}
_NONAUTOREGRESSIVE = "seqdistill.models.nonautoregressive"
_SMALL_FLOWSEQ = {
    **{"encoder_layers": 3, "posterior_layers": 2, "decoder_layers": 2, "heads": 4},
    **{"flow_steps": "1,1,1", "flow_ffn_dim": 256, "autoencoder_updates": 1000, "kl_updates": 1000},
}

FAMILIES: dict[str, Family] = {
    "transformer": Family(
        "seqdistill.models.autoregressive.transformer:Transformer",
        TransformerConfig,
        {
            "transformer": Preset("width 256, 3 layers a side; for small data and few cores"),
            "transformer-tiny": Preset(_ZHOU, _sizes(256, 1024, 3, 4, 0.1)),
            "transformer-small": Preset(_ZHOU, _sizes(512, 1024, 3, 8, 0.1)),
            "transformer-base": Preset(f"{_ZHOU}; Vaswani et al. 2017", _sizes(512, 2048, 6, 8, 0.3)),
            "transformer-big": Preset(f"{_ZHOU}; Vaswani et al. 2017", _sizes(1024, 4096, 6, 16, 0.3)),
            "transformer-iwslt-teacher": Preset("teacher of Lin et al. 2020 on IWSLT", _sizes(256, 1024, 8, 4, 0.1)),
            "transformer-iwslt-student": Preset("Transformer student of Lin et al. 2020", _sizes(256, 768, 2, 4, 0.1)),
            "deep-shallow": Preset(
                "12 encoder layers, one decoder layer (Kasai et al. 2021)", {"encoder_layers": 12, "decoder_layers": 1}
            ),
        },
        exporters={"ctranslate2": f"{_CONVERSION}:transformer_spec", "compiled": f"{_EXPORTING}:transformer_parts"},
    ),
    "mixture": Family(
        "seqdistill.models.autoregressive.mixture:Mixture",
        MixtureConfig,
        {
            "mixture": Preset("mixture of 3 experts (Shen et al. 2019), a Transformer of width 256, 3 layers a side"),
            "mixture-base": Preset("Zhou et al. 2020, section 5", _sizes(512, 2048, 6, 8, 0.3)),
        },
        Traits(experts=True),
        exporters={"ctranslate2": f"{_CONVERSION}:mixture_spec", "compiled": f"{_EXPORTING}:mixture_parts"},
    ),
    "rnn": Family(
        "seqdistill.models.autoregressive.rnn:RNN",
        RNNConfig,
        {
            "sru": Preset("2-layer SRU student of Lin et al. 2020"),
            "ssru": Preset("the same with SSRU cells (Kim et al. 2019), the smallest step", {"cell": "ssru"}),
            "gru": Preset("2-layer GRU student of Lin et al. 2020", {"cell": "gru"}),
            "lstm": Preset("2-layer LSTM student of Lin et al. 2020", {"cell": "lstm"}),
            "sru-3x1024": Preset(
                "3-layer SRU student of Lin et al. 2020", {"layers": 3, "dim": 1024, "projection": 256}
            ),
            "sru-wmt": Preset("WMT student of Lin et al. 2020", {"layers": 4, "dim": 1024, "projection": 256}),
        },
        exporters={"compiled": f"{_EXPORTING}:rnn_parts"},
    ),
    "hybrid": Family(
        "seqdistill.models.autoregressive.hybrid:Hybrid",
        HybridConfig,
        {
            "hybrid": Preset("Transformer encoder of width 256, 6 layers, and 2 recurrent decoder layers (SSRU)"),
            "tiny": Preset("Marian's tiny student (Bogoychev et al. 2020)", {"ffn_dim": 1536, "heads": 8}),
        },
        exporters={"compiled": f"{_EXPORTING}:hybrid_parts"},
    ),
    "nat": Family(
        f"{_NONAUTOREGRESSIVE}.nat:NAT",
        NATConfig,
        {"nat": Preset("vanilla non-autoregressive student of Zhou et al. 2020")},
        Traits(non_autoregressive=True),
        exporters=_AT_ONCE,
    ),
    "inat": Family(
        f"{_NONAUTOREGRESSIVE}.inat:INAT",
        INATConfig,
        {"inat": Preset("iterative refinement (Lee et al. 2018), base size of Zhou et al. 2020")},
        Traits(non_autoregressive=True, iterates=True),
        exporters=_AT_ONCE,
    ),
    "cmlm": Family(
        f"{_NONAUTOREGRESSIVE}.cmlm:CMLM",
        CMLMConfig,
        {"cmlm": Preset("mask-predict (Ghazvininejad et al. 2019), MaskT of Zhou et al. 2020, base size")},
        Traits(non_autoregressive=True, iterates=True, settles=False),
        exporters=_AT_ONCE,
    ),
    "inst": Family(
        f"{_NONAUTOREGRESSIVE}.insertion:InsertionTransformer",
        InsertionTransformerConfig,
        {"inst": Preset("Insertion Transformer of Zhou et al. 2020, base size")},
        Traits(non_autoregressive=True, iterates=True, inserts=True),
        exporters=_AT_ONCE,
    ),
    "levt": Family(
        f"{_NONAUTOREGRESSIVE}.levenshtein:LevenshteinTransformer",
        LevenshteinTransformerConfig,
        {
            "levt": Preset("Levenshtein Transformer of Zhou et al. 2020, base size"),
            "levt-big": Preset("LevT-big of Zhou et al. 2020", {"dim": 1024, "ffn_dim": 4096, "heads": 16}),
        },
        Traits(non_autoregressive=True, iterates=True, inserts=True),
        exporters=_AT_ONCE,
    ),
    "flowseq": Family(
        f"{_NONAUTOREGRESSIVE}.flowseq:FlowSeq",
        FlowSeqConfig,
        {
            "flowseq": Preset("FlowSeq-base of Ma et al. 2019, as in Zhou et al. 2020"),
            "flowseq-large": Preset("FlowSeq-large of Ma et al. 2019", {"dim": 512, "flow_ffn_dim": 1024}),
            "flowseq-small": Preset("half the layers, a flow of three steps; for few cores", _SMALL_FLOWSEQ),
        },
        Traits(non_autoregressive=True, rescores=True),
        check_training=FlowSeqConfig.check_updates,
        not_run={"compiled": "it draws latent variables through a normalising flow, which that engine does not have"},
    ),
}
"""Families by name, as in config.json."""


def resolved(path: str) -> Any:
    """The object named by "module:name"."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


def preset_names() -> list[str]:
    """The names that a user may give, family by family."""
    return [name for family in FAMILIES.values() for name in family.presets]


def family_named(preset: str) -> Family:
    """The family of a preset.

    Raises:
        UserError: there is no such preset; names the nearest.
    """
    for family in FAMILIES.values():
        if preset in family.presets:
            return family
    raise UserError(f"unknown model {preset!r}; {nearest(preset, preset_names())}")


def exporter(family: str, engine: str) -> Callable[..., Any]:
    """The function that converts a model and its tokenizers for this engine.

    Raises:
        UserError: the engine does not run this family; names those it runs.
    """
    exporters = FAMILIES[family].exporters
    if refusal := not_run(family, engine):
        raise UserError(f"{refusal}: use --engine {' or '.join(['torch', *exporters])}")
    return resolved(exporters[engine])


def not_run(family: str, engine: str) -> str | None:
    """Why the engine runs no model of this family, and those it runs; None where it runs them."""
    if engine in FAMILIES[family].exporters:
        return None
    runs = _families_where(lambda other: engine in other.exporters)
    reason = FAMILIES[family].not_run.get(engine)
    named = f"{family} ({reason})" if reason else family
    return f"the engine {engine} runs {runs}, but this model is one of {named}"


def config_named(preset: str, overrides: Mapping[str, Any], *, source_vocab: int = 8, target_vocab: int = 8) -> Any:
    """The config of a preset with some fields changed, by default for a vocabulary that is not known yet.

    Raises:
        UserError: unknown preset or field (with the nearest valid one, or the families that have it), a value of the
            wrong type or out of range.
    """
    family = family_named(preset)
    vocabularies = {"source_vocab": source_vocab, "target_vocab": target_vocab}
    for key in overrides:
        if key in vocabularies:
            raise UserError(f"{key} of model {preset!r} is the size of the tokenizer's vocabulary: leave it out")
        if key not in family.options and (others := _families_where(lambda other, key=key: key in other.options)):
            raise UserError(f"model {preset!r} has no option {key!r}, which is one of {others}: leave it out")
    values = {**family.presets[preset].sizes, **overrides, **vocabularies}
    return config_of(family.config, values, where=f"model {preset!r}")


class _OptionOfDecoding(NamedTuple):
    default: Any
    has: Callable[[Traits], bool]
    kind: str
    """The models that read it."""


_AUTOREGRESSIVE = (lambda traits: not traits.non_autoregressive, "that is autoregressive")
_DECODING = {
    "sampling": _OptionOfDecoding(False, *_AUTOREGRESSIVE),
    "no_repeat_ngram": _OptionOfDecoding(0, *_AUTOREGRESSIVE),
    "min_length": _OptionOfDecoding(0, *_AUTOREGRESSIVE),
    "iterations": _OptionOfDecoding(None, lambda traits: traits.iterates, "that is refined in iterations"),
    "penalty": _OptionOfDecoding(0, lambda traits: traits.inserts, "that inserts words"),
    "penalty_file": _OptionOfDecoding(None, lambda traits: traits.inserts, "that inserts words"),
    "rescoring_samples": _OptionOfDecoding(0, lambda traits: traits.rescores, "with latent variables"),
    "expert": _OptionOfDecoding(None, lambda traits: traits.experts, "that is a mixture of experts"),
}
"""Options of decoding that not every family reads."""


def refuse_foreign(traits: Traits, options: Mapping[str, Any]) -> None:
    """No option of decoding is accepted and then ignored.

    Args:
        traits: of the model that is to be decoded.
        options: by name; others than those that some families have are not looked at.

    Raises:
        UserError: an option of other families; names it and them.
    """
    for name, option in _DECODING.items():
        # What has its default was not asked for.
        value = options.get(name, option.default)
        if value != option.default and not option.has(traits):
            families = _families_where(lambda family, option=option: option.has(family.traits))
            raise UserError(f"{name} {value} is for a model {option.kind} ({families}), not for this one: leave it out")


def _families_where(condition: Callable[[Family], bool]) -> str:
    return ", ".join(name for name, family in FAMILIES.items() if condition(family))
