"""A student that starts from its teacher: layers of a trained model are copied into another of the same widths.

Shleifer and Rush 2020 ("shrink and fine-tune"): embeddings, encoder and some decoder layers of the teacher; what the
student has besides, such as the recurrence of a hybrid, is drawn anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqdistill.errors import UserError
from seqdistill.models.interface import Model

WIDTHS = ("dim", "ffn_dim", "heads", "norm_first", "cell", "embedding_dim", "projection", "rescale")
MEANINGS = ("output_scale", "length", "flow_steps")
"""Fields of configs that decide what weights mean, by their shapes or by what is computed with them; those that both
models have must be equal."""

_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")
_MIXTURE = "transformer."
"""What the names of a mixture's Transformer begin with."""


class Started(NamedTuple):
    """What a student took from another model."""

    copied: list[nn.Parameter]
    """Its parameters that are the other's."""
    report: list[str]
    """A line for each part: where it comes from, and what of it is new."""
    copied_weights: int
    new_weights: int


def spread(count: int, among: int) -> list[int]:
    """Which of `among` layers, from 1, to copy into `count`: evenly spaced, the first and the last included.

    More layers than there are: as many as there are, in their order. One layer: the first.

        >>> spread(3, 12), spread(2, 3), spread(4, 2), spread(1, 6)
        ([1, 6, 12], [1, 3], [1, 2], [1])
    """
    if count >= among:
        return list(range(1, among + 1))
    return [1 + (number * (among - 1)) // max(count - 1, 1) for number in range(count)]


@torch.no_grad()
def start_from(
    student: Model, teacher: Model, *, encoder: Sequence[int] = (), decoder: Sequence[int] = (), where: str
) -> Started:
    """Copies every parameter that the teacher has under the same name, layers by number, into the student.

    Args:
        encoder, decoder: the teacher's layers, from 1, that the student's first layers are copied from; none given:
            `spread`.
        where: the teacher's directory, for errors.

    Raises:
        UserError: widths differ (names them, and the --set that fits); a layer that does not exist; nothing fits.
    """
    _check_widths(student.config, teacher.config, where)
    theirs = {name.removeprefix(_MIXTURE): tensor for name, tensor in teacher.state_dict().items()}
    ours = {name.removeprefix(_MIXTURE): parameter for name, parameter in student.named_parameters()}
    layers = {
        "encoder": _layers("encoder", encoder, ours, theirs, where),
        "decoder": _layers("decoder", decoder, ours, theirs, where),
    }
    origin = {name: source for name in ours if (source := _source(name, layers)) in theirs}
    for name, source in origin.items():
        if ours[name].shape != theirs[source].shape:
            raise UserError(
                f"{where}: {source} has shape {list(theirs[source].shape)}, but the student's {name} "
                f"{list(ours[name].shape)}: give the student the sizes of the model it starts from (--set)"
            )
    if not origin:
        raise UserError(f"{where}: nothing of this model fits the student: start from a model with layers like its own")
    for name, source in origin.items():
        ours[name].copy_(theirs[source])
    copied = sum(ours[name].numel() for name in origin)
    total = sum(parameter.numel() for parameter in ours.values())
    return Started([ours[name] for name in origin], _report(ours, origin), copied, total - copied)


def _check_widths(student: Any, teacher: Any, where: str) -> None:
    ours, theirs = vars(student), vars(teacher)
    # With `rescale` an SRU multiplies by what its bias starts from; without, that is a start like any other.
    scaled = ["highway_bias"] if ours.get("rescale") else []
    shared = [name for name in (*WIDTHS, *MEANINGS, *scaled) if name in ours and name in theirs]
    recurrent = ["encoder_layers" not in fields for fields in (ours, theirs)]
    wanted = {name: theirs[name] for name in shared}
    if recurrent[0] != recurrent[1]:  # an RNN and a Transformer have embeddings in common, and nothing else
        names = {True: "embedding_dim", False: "dim"}
        wanted = {names[recurrent[0]]: theirs[names[recurrent[1]]]}
    if differing := {name: value for name, value in wanted.items() if ours[name] != value}:
        said = ", ".join(f"{name} is {ours[name]}, there {value}" for name, value in differing.items())
        fits = " ".join(f"--set {name}={str(value).lower()}" for name, value in differing.items())
        raise UserError(f"{where}: a student that starts from it has its widths, but {said}: give {fits}")
    if ours.get("tied") and not theirs.get("tied", True):
        raise UserError(f"{where}: has an embedding for each side, but the student one for both: give --set tied=false")


def _layers(
    side: str, chosen: Sequence[int], ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str
) -> dict[int, int]:
    """The student's layer -> the teacher's it is copied from, both from 0."""
    count, among = (
        1 + max((int(m[2]) for name in names if (m := _LAYER.match(name)) and m[1] == side), default=-1)
        for names in (ours, theirs)
    )
    if len(chosen) > count:
        raise UserError(f"start_{side} names {len(chosen)} layers, but the student's {side} has {count}")
    for number in chosen:
        if not 1 <= number <= among:
            raise UserError(f"start_{side} {number}: the {side} of {where} has layers 1 to {among}")
    return {place: number - 1 for place, number in enumerate(chosen or spread(count, among))}


def _source(name: str, layers: Mapping[str, Mapping[int, int]]) -> str:
    """The name in the teacher of what the student's parameter is copied from; "" where its layer is new."""
    found = _LAYER.match(name)
    if found is None:
        return name
    side, number, rest = found[1], int(found[2]), found[3]
    return f"{side}.layers.{layers[side][number]}.{rest}" if number in layers[side] else ""


def _report(ours: Mapping[str, Tensor], origin: Mapping[str, str]) -> list[str]:
    """A line for each part, such as `decoder layer 1: copied from layer 1; new: recurrence`."""
    parts: dict[str, dict[str, bool]] = {}
    places: dict[str, str] = {}
    for name in ours:
        found = _LAYER.match(name)
        outside = re.sub(r"[_.]", " ", name.rsplit(".", 1)[0])
        part = f"{found[1]} layer {int(found[2]) + 1}" if found else outside
        within = found[3].split(".")[0].replace("_", " ") if found else ""
        parts.setdefault(part, {})[within] = name in origin
        if found and (source := origin.get(name)):
            matched = _LAYER.match(source)
            assert matched is not None
            places[part] = f" from layer {int(matched[2]) + 1}"
    lines = []
    for part, within in parts.items():
        new = [name for name, is_copied in within.items() if not is_copied]
        if len(new) == len(within):
            lines.append(f"{part}: new")
        else:
            lines.append(f"{part}: copied{places.get(part, '')}" + (f"; new: {', '.join(new)}" if new else ""))
    return lines
