"""Small exported models for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from seqdistill.models.saved import LoadedModel, create_model, load_model, save_model
from seqdistill.runtime.exporting.writing import write_exported
from seqdistill.vocabulary.sentencepiece import SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "quietly",
    "mix",
    "vexing",
    "jars",
    "of",
    "bright",
    "pink",
    "goo",
]
_RNN = {"dim": 24, "embedding_dim": 16}
_LAYERS = {"dim": 16, "ffn_dim": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
SIZES: dict[str, dict[str, Any]] = {
    "sru": _RNN,
    "ssru": _RNN,
    "gru": _RNN,
    "lstm": _RNN,
    "transformer": _LAYERS | {"decoder_layers": 2},
    "mixture": _LAYERS | {"experts": 2},
    "hybrid": _LAYERS | {"decoder_layers": 2},
    "nat": _LAYERS,
    "inat": _LAYERS,
    "cmlm": _LAYERS,
    "inst": _LAYERS,
    "levt": _LAYERS,
}
"""By preset: all that the engine runs."""


def sentences(count: int, seed: int = 1, longest: int = 12) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist())
        for length in lengths
    ]


def tokenizers() -> Vocabularies:
    joint = SentencePiece.train(sentences(300), vocab_size=90)
    return Vocabularies(joint, joint, joint=True)


def trained(name: str, folder: Path, vocabularies: Vocabularies | None = None) -> LoadedModel:
    """A saved model whose outputs differ from source to source."""
    torch.manual_seed(5)
    vocabularies = vocabularies or tokenizers()
    model = create_model(name, vocabularies, **SIZES[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    save_model(model, vocabularies, folder)
    return load_model(folder)


def exported(loaded: LoadedModel, folder: Path, **options: Any) -> Path:
    write_exported(loaded, folder, **{"precision": "float32", **options})
    return folder
