"""Which type a training multiplies in: the one asked for, or, for `auto`, the faster one, measured once and recorded.

What bfloat16 gains on a CPU depends on the processor and on the sizes of model and batches: a Transformer of width 128
trains slower, one of width 512 twice as fast. So before the first update a few updates of both kinds are timed, and
nothing of them stays: the loop then trains on the same batches, from the same weights, and seeds every draw itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from torch import nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.models.interface import CountsUpdates, Objective
from seqdistill.options import TrainingOptions
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.training.distributed import Ranks
from seqdistill.training.optim import choose_precision, computes_bfloat16, divide_and_clip, step

FILE = "precision.json"

GAIN = 1.1
"""bfloat16 is taken if float32 needs more than this times its seconds."""

TURNS = 4
"""Updates timed of each type, in turns; the first two, which allocate and compile kernels, do not count."""

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Measured(NamedTuple):
    """Seconds of an update in each type: the least of the turns, summed over ranks."""

    float32: float
    bfloat16: float

    @property
    def faster(self) -> str:
        """The name of the type to train in."""
        return "bfloat16" if self.float32 > GAIN * self.bfloat16 else "float32"


class Settled(NamedTuple):
    """Precision of a training, and the batches drawn while it was measured."""

    precision: str
    measured: Measured | None
    """None: not measured, or by an earlier process of this run."""
    drawn: list[Batch]
    """The micro-batches of the first update, still to be trained on."""

    @property
    def dtype(self) -> torch.dtype:
        return TYPES[self.precision]


def settle(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    draw: Callable[[], Batch],
    *,
    options: TrainingOptions,
    begun: bool,
    folder: Path,
    ranks: Ranks,
) -> Settled:
    """The precision of a run, the same on every rank; measured where `auto` leaves a choice, and kept in `folder`.

    Args:
        draw: takes the next micro-batch of the run.
        begun: whether updates have been done already; then nothing is measured any more.

    Raises:
        UserError: bfloat16 was asked for, or taken when the run began, and the device here would emulate it.
    """
    device = next(model.parameters()).device
    default = str(choose_precision(options.precision, device)).removeprefix("torch.")
    if options.precision != "auto":
        return Settled(default, None, [])
    if earlier := _recorded(folder / FILE, device, ranks):
        return Settled(earlier, None, [])
    if begun or device.type != "cpu" or not all(ranks.gather(computes_bfloat16(device))):
        return Settled(default, None, [])
    drawn = [draw().to(device) for _ in ranks.share(options.accumulate)]
    measured = _measured(model, optimizer, objective, drawn, options, ranks)
    if ranks.first:
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(folder / FILE, {"precision": measured.faster, "seconds_an_update": measured._asdict()})
    ranks.barrier()
    return Settled(measured.faster, measured, drawn)


def _recorded(file: Path, device: torch.device, ranks: Ranks) -> str | None:
    """Precision that an earlier process of this run chose; None: none yet."""
    (found, *_) = ranks.gather(_read(file) if ranks.first and file.exists() else None)
    if found == "bfloat16" and not computes_bfloat16(device):
        raise UserError(
            f"{file}: this training was begun in bfloat16, which the {device.type} here has no instructions for: "
            "continue it where it was begun, or start again in another directory"
        )
    return found


def _read(file: Path) -> str:
    """What was measured, which every later update must be computed in."""
    return read_sealed(file, remedy="start again in another directory")["precision"]


def _measured(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    batches: Sequence[Batch],
    options: TrainingOptions,
    ranks: Ranks,
) -> Measured:
    """Times updates on these micro-batches; model and optimizer, which has done none yet, are left as they were."""
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    seconds: dict[str, list[float]] = {name: [] for name in TYPES}
    for _ in range(TURNS):
        for name, dtype in TYPES.items():
            began = perf_counter()
            _update(model, optimizer, objective, batches, dtype, options, ranks)
            seconds[name].append(perf_counter() - began)
            # Adam as it was made: no moments, no steps.
            optimizer.state.clear()
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)
    # The least of the later turns: other programs only ever make an update slower.
    return Measured(*ranks.all_sum(*(min(found[TURNS // 2 :]) for found in seconds.values())))


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    batches: Sequence[Batch],
    dtype: torch.dtype,
    options: TrainingOptions,
    ranks: Ranks,
) -> None:
    """An update as in the loop, but without seeding and checks."""
    if isinstance(model, CountsUpdates):
        model.begin_update()
    count = 0.0
    for batch in batches:
        with torch.autocast(batch.source.device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = objective(batch)
        loss.total.backward()
        count += loss.count
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    ranks.sum_gradients(parameters)
    divide_and_clip(parameters, count=count, clip_norm=options.clip_norm)
    step(optimizer, options.learning_rate)
