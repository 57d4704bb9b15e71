"""Checkpoints: everything a training run is at one update, in safetensors and JSON, whole or absent, hashed.

checkpoints/00001000/model.safetensors       weights and buffers
                     optimizer.safetensors   Adam's moments and steps, by parameter name
                     state.json              record, end, update, data position, scores; hashes of all three
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seqdistill.errors import UserError, described
from seqdistill.files import sha256_file, sweep, utf8_name
from seqdistill.journal import Record, differences
from seqdistill.models.saved import stored_weights, write_tensors
from seqdistill.seals import listing, read_sealed, write_sealed
from seqdistill.training.growth import End, lies_on_the_way

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class Validation:
    """What the model scored after an update."""

    update: int
    scores: dict[str, float]


@dataclass
class Run:
    """Where a training run is, besides its tensors. All random draws are functions of the seed and the update."""

    update: int = 0
    """Updates done."""
    history: list[Validation] = field(default_factory=list)
    """Every validation; the best one and early stopping follow from it."""
    loss: float = 0.0
    """Sum of the loss since the last row of the log."""
    labels: float = 0.0
    """Labels since the last row of the log."""
    rows: int = 0
    """Rows of the log so far, but for validations: fewer there, and some were lost."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What the last bits of its updates depend on: threads, processor, device."""


def save(
    directory: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    *,
    record: Record,
    end: End,
    streams: Sequence[Mapping[str, Any]],
) -> Path:
    """Writes the checkpoint of this update into a folder of `directory`, complete before it gets its name.

    Args:
        record: must be equal for a run to continue.
        end: where this one is to end.
        streams: the batches' state, one for each rank.
    """
    final = directory / f"{run.update:08d}"
    beside = directory / f".{final.name}.{os.getpid()}.part"
    sweep(directory)  # of a process that was killed within a save
    beside.mkdir(parents=True)
    try:
        _write(beside / MODEL, stored_weights(model))
        _write(beside / OPTIMIZER, _moments(model, optimizer))
        state = {
            "record": record.as_json(),
            "end": end._asdict(),
            "run": asdict(run),
            "batches": [dict(stream) for stream in streams],
            "sha256": listing(beside, (MODEL, OPTIMIZER)),
        }
        # The state holds the tensors' hashes and is sealed with its own: one altered byte anywhere is found when read.
        write_sealed(beside / STATE, state)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise UserError(f"{final}: cannot be written: {described(error)}") from error
    # The rename makes the checkpoint exist: `saved` does not see a folder whose name begins with a dot.
    beside.rename(final)
    return final


def find(directory: Path, *, record: Record, end: End, branch: Path | None = None) -> Path | None:
    """The newest checkpoint in `directory` that lies on the way to `end`; else `branch`, where a training may begin.

    Raises:
        UserError: a checkpoint was cut or altered, or is of a training with other options; training went too far for
            this end; none is left to grow from. Says what to do.
    """
    stable = None
    # From the newest back: a training that has grown, or ends elsewhere, may have to go back to before a decay.
    for folder in reversed(list(saved(directory))):
        state = _read_state(folder)
        record.check(state.get("record"), folder)
        update, before = state["run"]["update"], End(**state["end"])
        validated = any(row["update"] == update for row in state["run"]["history"])
        if lies_on_the_way(update, validated=validated, before=before, now=end):
            return folder
        if end.max_updates <= before.max_updates:
            raise UserError(
                f"{directory}: already trained for {update} updates, too many to end at max_updates {end.max_updates}; "
                "raise max_updates or give another output directory"
            )
        stable = before.stable
    if stable is not None and (branch is None or not branch.exists()):
        raise UserError(
            f"{directory}: no checkpoint from before the decay (update {stable}) is left to grow from; "
            "give another output directory"
        )
    return branch


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Run, list[dict[str, Any]]]:
    """Loads a checkpoint into model and optimizer.

    Returns:
        the run, and the batches' state of each rank that wrote it.

    Raises:
        UserError: the checkpoint was cut or altered, or is of another model.
    """
    state = _read_state(folder)
    load_weights(model, read_weights(folder), where=folder / MODEL)
    _load_moments(model, optimizer, _read(folder, OPTIMIZER, state))
    history = [Validation(**row) for row in state["run"]["history"]]
    return Run(**state["run"] | {"history": history}), state["batches"]


def saved(directory: Path) -> Iterator[Path]:
    """The complete checkpoints in a directory, oldest first."""
    # Eight digits with leading zeros: names sort as numbers do.
    return iter(sorted(path for path in directory.glob("[0-9]*") if path.is_dir()))


def drop_after(directory: Path, update: int) -> None:
    """Deletes the checkpoints of later updates: they are on the way to another end."""
    for folder in list(saved(directory)):
        if int(folder.name) > update:
            shutil.rmtree(folder)


def prune(directory: Path, *, newest: int, updates: Sequence[int]) -> None:
    """Deletes all checkpoints but the `newest` latest and those of `updates`."""
    for folder in list(saved(directory))[:-newest]:
        if int(folder.name) not in updates:
            shutil.rmtree(folder)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, where: Path) -> None:
    """Copies tensors into the model's own.

    Raises:
        UserError: names or shapes are those of another model; lists all that differ.
    """
    own = stored_weights(model)
    expected = {name: list(tensor.shape) for name, tensor in own.items()}
    if changed := differences({name: list(tensor.shape) for name, tensor in tensors.items()}, expected):
        raise UserError(f"{where}: weights of another model:\n  " + "\n  ".join(changed))
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of one checkpoint, on the CPU.

    Raises:
        UserError: the checkpoint was cut or altered.
    """
    return _read(folder, MODEL, _read_state(folder))


def average(folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the weights of several checkpoints, summed in float64; tensors of integers come from the last."""
    # One checkpoint in memory at a time, besides the sums.
    sums: dict[str, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    for folder in folders:
        tensors = read_weights(folder)
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                sums[name] = sums.get(name, 0) + tensor.double()
    return {name: (sums[name] / len(folders)).to(t.dtype) if name in sums else t for name, t in tensors.items()}


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        # By name: the optimizer's own numbers depend on the order of the parameters.
        f"{name}.{moment}": tensor
        for name, parameter in model.named_parameters()
        for moment, tensor in optimizer.state.get(parameter, {}).items()
    }


def _load_moments(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            optimizer.state[parameter] = {
                moment: tensors[f"{name}.{moment}"].to(parameter.device) for moment in ("step", "exp_avg", "exp_avg_sq")
            }


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()})
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read(folder: Path, name: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / name
    try:
        if sha256_file(path) == state["sha256"][name]:
            with utf8_name(path) as same:
                return safetensors.torch.load_file(same)
    except (OSError, SafetensorError):
        pass
    raise _altered(path)


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        return read_sealed(folder / STATE, remedy="")
    except UserError:
        raise _altered(folder / STATE) from None


def _altered(path: Path) -> UserError:
    folder = path.parent
    older = [other.name for other in saved(folder.parent) if other.name < folder.name]
    onward = f"goes on from {folder.parent / older[-1]}" if older else "starts again"
    return UserError(
        f"{path}: missing, cut or altered since it was written; "
        f"delete {folder} and run the same command again: training {onward}"
    )
