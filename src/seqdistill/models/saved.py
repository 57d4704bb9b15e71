"""A model made for a vocabulary, written to a directory and read back."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seqdistill import __version__
from seqdistill.errors import UserError, nearest
from seqdistill.exported import CONVERTED, exported_for, is_exported
from seqdistill.files import sha256_json, utf8_name, written_beside
from seqdistill.journal import differences
from seqdistill.models.building import built
from seqdistill.models.family import (
    FAMILIES,
    Family,
    config_named,
    family_named,
    refuse_foreign,
    resolved,
)
from seqdistill.models.interface import ExpertsModel, Model
from seqdistill.models.sizes import config_of
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.text.languages import Languages
from seqdistill.vocabulary.vocabularies import Vocabularies
from seqdistill.vocabulary.vocabulary import Side, side_for_model

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer"
REMEDY = "copy the whole model directory again, or train again"


class LoadedModel(NamedTuple):
    """A model as `load_model` found it."""

    model: Model
    """In evaluation mode."""
    tokenizers: Vocabularies
    config: Any
    """The model's config, such as a TransformerConfig."""
    fingerprint: str
    """Hash of weights, config and tokenizers: equal if and only if the model translates alike."""
    languages: Languages
    """Of the text it was trained on."""

    def described(self) -> dict[str, Any]:
        """What a directory made of it says of it, as JSON."""
        return {
            "seqdistill": __version__,
            "family": family_of(self.model),
            "model": self.fingerprint,
            "tokenizer": self.tokenizers.fingerprint,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "languages": self.languages._asdict(),
        }


def create_model(preset: str, tokenizers: Vocabularies, **overrides: Any) -> Model:
    """A model with fresh weights drawn from torch's global generator, for the vocabulary of `tokenizers`.

    Args:
        preset: a name of `preset_names`.
        overrides: fields of the model's config; `tied` defaults to whether the vocabulary is joint.

    Raises:
        UserError: as `config_named`; tied embeddings for two vocabularies.
    """
    family = family_named(preset)
    if overrides.get("tied") and not tokenizers.joint:
        raise UserError("tied=true needs a joint vocabulary: run seqdistill prepare with one, or leave tied out")
    tied = {"tied": tokenizers.joint} if "tied" in family.options else {}
    source, target = _sides(family, tokenizers)
    config = config_named(preset, tied | overrides, source_vocab=source.size, target_vocab=target.size)
    return built(resolved(family.model), config, source_ids=source.ids, target_ids=target.ids)


def _sides(family: Family, tokenizers: Vocabularies) -> tuple[Side, Side]:
    mask = family.traits.non_autoregressive
    return side_for_model(tokenizers.source, mask=mask), side_for_model(tokenizers.target, mask=mask)


def family_of(model: Model) -> str:
    """The name of the model's family."""
    path = f"{type(model).__module__}:{type(model).__qualname__}"
    return next(name for name, family in FAMILIES.items() if family.model == path)


def save_model(model: Model, tokenizers: Vocabularies, directory: Path, *, languages: Languages | None = None) -> None:
    """Writes tokenizer/, model.safetensors and config.json, each atomically, config.json last.

    A directory that holds the same architecture and tokenizer gets the new weights in one rename; so a reader finds the
    old model or the new one, never a mixture. Tied weights are stored once. Each file says itself what it must be:
    config.json by its seal, the weights by their hash, the tokenizer by its own description. So a copy of the directory
    is a whole model, and a stage's manifest is not needed to check it.

    Raises:
        UserError: the directory holds another model or another tokenizer.
    """
    directory = Path(directory)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in stored_weights(model).items()}
    config: Any = model.config
    description = {
        "model": family_of(model),
        "config": asdict(config),
        "tokenizer": tokenizers.fingerprint,
        "languages": (languages or Languages())._asdict(),
    }
    if (directory / CONFIG).exists():
        there = {
            key: value for key, value in read_sealed(directory / CONFIG, remedy=REMEDY).items() if key in description
        }
        if changes := differences(there, description):
            raise UserError(f"{directory}: holds another model ({'; '.join(changes)}); give another directory")
    # config.json comes last: where it is, the rest is there too.
    tokenizers.save(directory / TOKENIZER)
    with written_beside(directory / WEIGHTS) as beside:
        write_tensors(beside, weights, metadata={"sha256": hash_of(weights)})
    if not (directory / CONFIG).exists():
        write_sealed(directory / CONFIG, {**description, "seqdistill": __version__})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file; raises OSError as other writers do, such as where the disk is full."""
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))  # the library's own error for all that can happen
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def load_model(directory: Path, device: str | torch.device = "cpu", *, expert: int | None = None) -> LoadedModel:
    """Reads what `save_model` wrote; of a training's output directory, its DIR/model.

    Args:
        expert: of a mixture, the one that writes, from 1; by default the best on validation data.

    Raises:
        UserError: an expert of a model that is not a mixture, or an expert that the mixture does not have.
        UserError: a file is missing, cut or altered, weights are missing, unexpected or of another shape (all are
            named), or the tokenizer is not the one the model was trained with.
    """
    directory = model_directory(Path(directory))
    description = _description(directory)
    name, values, expected = description["model"], description["config"], description["tokenizer"]
    tokenizers = Vocabularies.load(directory / TOKENIZER)
    if tokenizers.fingerprint != expected:
        raise UserError(
            f"{directory / TOKENIZER}: is not the tokenizer this model was trained with (fingerprint "
            f"{expected[:12]} expected, {tokenizers.fingerprint[:12]} found); copy the right one back"
        )
    family = FAMILIES[name]
    refuse_foreign(family.traits, {"expert": expert})
    config = config_of(family.config, values, where=str(directory / CONFIG))
    source, target = _sides(family, tokenizers)
    _check_vocabulary(config, source, target, directory)
    weights, digest = _read_weights(directory / WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: they must not cost random numbers
        model = built(resolved(family.model), config, source_ids=source.ids, target_ids=target.ids)
    _fill(model, weights, directory / WEIGHTS)
    if expert is not None:
        digest = _of_expert(cast(ExpertsModel, model), expert, digest)
    fingerprint = sha256_json({"model": name, "config": values, "weights": digest, "tokenizer": expected})
    languages = Languages.read(description["languages"])
    return LoadedModel(model.to(device).eval(), tokenizers, config, fingerprint, languages)


def _of_expert(model: ExpertsModel, expert: int, digest: str) -> str:
    """Chooses the expert that writes; returns the hash of the weights, which includes the choice."""
    # The chosen expert is a stored weight, so a model that writes as another one has another fingerprint.
    before = int(model.expert)
    model.choose(expert)
    return digest if int(model.expert) == before else hash_of(stored_weights(cast(nn.Module, model)))


def saved_family(directory: Path) -> Family:
    """The family of what `save_model` wrote, without reading its weights.

    Raises:
        UserError: no model, or an altered description.
    """
    return FAMILIES[_description(model_directory(Path(directory)))["model"]]


def stored_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; those that share memory appear once, under their first name."""
    stored, seen = {}, set()
    for name, weight in model.state_dict().items():
        # The shape as well: a view of the first rows has the address of the whole.
        if (place := (weight.data_ptr(), weight.shape)) not in seen:
            seen.add(place)
            stored[name] = weight
    return stored


def model_directory(directory: Path) -> Path:
    """The directory with config.json: the given one, or the `model` inside a training's output."""
    if (directory / CONVERTED).is_file() and not (directory / WEIGHTS).exists():
        use = "decodes with and nothing else can use" if exported_for(directory) else "alone can use"
        raise UserError(
            f"{directory}: holds a model of CTranslate2, which CTranslate2 {use}: give the trained model that it was "
            "made of"
        )
    for candidate in (directory, directory / "model"):
        if (candidate / CONFIG).exists():
            return candidate
    if is_exported(directory):
        raise UserError(
            f"{directory}: is an exported model, which the compiled engine decodes with and nothing else can use: give "
            "the trained model that it was made of"
        )
    state = "no such directory" if not directory.is_dir() else f"holds no {CONFIG}, nor does its folder 'model'"
    if (directory / "unfinished.json").exists():
        state = "its training is not finished: run the command that began it again, it continues"
    raise UserError(f"{directory}: {state}; give the output directory of a finished training, or its model folder")


def _description(directory: Path) -> dict[str, Any]:
    """Content of config.json; raises UserError if it was altered, or names a model that this version does not have."""
    found = read_sealed(directory / CONFIG, remedy=REMEDY)
    if found["model"] not in FAMILIES:
        raise UserError(f"{directory / CONFIG}: unknown model {found['model']!r}; {nearest(found['model'], FAMILIES)}")
    return found


def _check_vocabulary(config: Any, source: Side, target: Side, directory: Path) -> None:
    for name, side in (("source", source), ("target", target)):
        expected = getattr(config, f"{name}_vocab")
        if expected != side.size:
            raise UserError(
                f"{directory / CONFIG}: {name}_vocab is {expected}, but the tokenizer has {side.size} tokens; "
                "the file was altered: copy it again"
            )


def _read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a safetensors file and their hash, checked against the one stored beside them."""
    if not path.exists():
        raise UserError(f"{path}: no such file; copy the whole model directory, or train again")
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            expected = (file.metadata() or {}).get("sha256")
    except SafetensorError as error:
        raise UserError(f"{path}: cut or damaged ({error}); copy it again, or train again") from None
    digest = hash_of(weights)
    if expected != digest:
        raise UserError(f"{path}: the weights are not those that were saved (checksum differs); copy the file again")
    return weights, digest


def _fill(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copies weights into the model after naming everything that does not fit."""
    # Tied weights are here under their first name; copying in place fills their other names too.
    wanted = stored_weights(model)
    faults = [f"missing: {', '.join(missing)}"] if (missing := sorted(wanted.keys() - weights.keys())) else []
    if extra := sorted(weights.keys() - wanted.keys()):
        faults.append(f"unexpected: {', '.join(extra)}")
    for name in sorted(wanted.keys() & weights.keys()):
        if wanted[name].shape != weights[name].shape:
            faults.append(f"{name} is {tuple(weights[name].shape)}, expected {tuple(wanted[name].shape)}")
        elif weights[name].dtype != wanted[name].dtype:
            faults.append(f"{name} is {weights[name].dtype}, expected {wanted[name].dtype}")
        elif not weights[name].isfinite().all():
            faults.append(f"{name} holds NaN or infinite numbers")
    if faults:
        raise UserError(f"{path}: does not fit its config.json; {'; '.join(faults)}; copy the model directory again")
    for name, weight in wanted.items():
        weight.copy_(weights[name])


def hash_of(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name]
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        # Flat first, as a number without dimensions cannot be viewed as bytes.
        digest.update(weight.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
