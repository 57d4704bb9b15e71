"""Models with sizes that have a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A model with sizes that have a name in the literature."""

    model: str
    """A name of MODELS."""
    description: str
    sizes: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config that differ from its defaults."""


SMALL_FLOWSEQ = {
    **{"encoder_layers": 3, "posterior_layers": 2, "decoder_layers": 2, "heads": 4},
    **{"flow_steps": "1,1,1", "flow_ffn_dim": 256, "autoencoder_updates": 1000, "kl_updates": 1000},
}


def _transformer(
    description: str, dim: int, ffn_dim: int, layers: int, heads: int, dropout: float, *, model: str = "transformer"
) -> Preset:
    layers_of = {"encoder_layers": layers, "decoder_layers": layers}
    sizes = {"dim": dim, "ffn_dim": ffn_dim, **layers_of, "heads": heads, "dropout": dropout}
    return Preset(model, description, sizes)


PRESETS: dict[str, Preset] = {
    "transformer": Preset("transformer", "width 256, 3 layers a side; for small data and few cores"),
    "transformer-tiny": _transformer("Zhou et al. 2020, table 5", 256, 1024, 3, 4, 0.1),
    "transformer-small": _transformer("Zhou et al. 2020, table 5", 512, 1024, 3, 8, 0.1),
    "transformer-base": _transformer("Zhou et al. 2020, table 5; Vaswani et al. 2017", 512, 2048, 6, 8, 0.3),
    "transformer-big": _transformer("Zhou et al. 2020, table 5; Vaswani et al. 2017", 1024, 4096, 6, 16, 0.3),
    "transformer-iwslt-teacher": _transformer("teacher of Lin et al. 2020 on IWSLT", 256, 1024, 8, 4, 0.1),
    "transformer-iwslt-student": _transformer("Transformer student of Lin et al. 2020", 256, 768, 2, 4, 0.1),
    "mixture": Preset(
        "mixture", "mixture of 3 experts (Shen et al. 2019), a Transformer of width 256, 3 layers a side"
    ),
    "mixture-base": _transformer("Zhou et al. 2020, section 5", 512, 2048, 6, 8, 0.3, model="mixture"),
    "sru": Preset("rnn", "2-layer SRU student of Lin et al. 2020", {"cell": "sru"}),
    "gru": Preset("rnn", "2-layer GRU student of Lin et al. 2020", {"cell": "gru"}),
    "lstm": Preset("rnn", "2-layer LSTM student of Lin et al. 2020", {"cell": "lstm"}),
    "sru-3x1024": Preset(
        "rnn", "3-layer SRU student of Lin et al. 2020", {"cell": "sru", "layers": 3, "dim": 1024, "projection": 256}
    ),
    "sru-wmt": Preset(
        "rnn", "WMT student of Lin et al. 2020", {"cell": "sru", "layers": 4, "dim": 1024, "projection": 256}
    ),
    "nat": Preset("nat", "vanilla non-autoregressive student of Zhou et al. 2020"),
    "inat": Preset("inat", "iterative refinement (Lee et al. 2018), base size of Zhou et al. 2020"),
    "cmlm": Preset("cmlm", "mask-predict (Ghazvininejad et al. 2019), MaskT of Zhou et al. 2020, base size"),
    "inst": Preset("inst", "Insertion Transformer of Zhou et al. 2020, base size"),
    "levt": Preset("levt", "Levenshtein Transformer of Zhou et al. 2020, base size"),
    "levt-big": Preset("levt", "LevT-big of Zhou et al. 2020", {"dim": 1024, "ffn_dim": 4096, "heads": 16}),
    "flowseq": Preset("flowseq", "FlowSeq-base of Ma et al. 2019, as in Zhou et al. 2020"),
    "flowseq-large": Preset("flowseq", "FlowSeq-large of Ma et al. 2019", {"dim": 512, "flow_ffn_dim": 1024}),
    "flowseq-small": Preset("flowseq", "half the layers, a flow of three steps; for few cores", SMALL_FLOWSEQ),
}
"""Name a user gives -> what is made."""
