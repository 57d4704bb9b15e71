"""The training loop: one function, in the order of the algorithm."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from seqdistill.data.batches import Batch
from seqdistill.errors import UserError
from seqdistill.files import locked
from seqdistill.journal import Record
from seqdistill.models.interface import CountsUpdates, HasLogMetrics, Objective
from seqdistill.options import TrainingOptions
from seqdistill.progress import Progress, Silent
from seqdistill.training import checkpoint
from seqdistill.training.checkpoint import Run, Validation
from seqdistill.training.distributed import ALONE, Ranks
from seqdistill.training.growth import GROWING, End, end_of
from seqdistill.training.history import exhausted, final_updates, needed_updates, regular
from seqdistill.training.log import Log
from seqdistill.training.memory import keep_freed_memory
from seqdistill.training.optim import adam, check_finite, choose_device, divide_and_clip, step
from seqdistill.training.options import scheduled_rate
from seqdistill.training.precision import settle


@runtime_checkable
class BatchStream(Protocol):
    """An endless stream of batches that knows its place."""

    def __next__(self) -> Batch: ...

    def state(self) -> Mapping[str, Any]:
        """Where the stream is, as JSON; `sums`, if any, are of the next row of the log, and may differ by rank."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state` was taken; raises UserError if it is another stream's."""
        ...

    def log_metrics(self) -> Mapping[str, float]:
        """Values since the last call; they go into the log."""
        ...


class TrainingResult(NamedTuple):
    """A finished training run."""

    model: nn.Module
    """The model that was given, in evaluation mode, with the final weights."""
    updates: int
    """Updates done."""
    averaged: list[int]
    """Updates of the checkpoints whose mean the weights are."""
    scores: dict[str, float]
    """Validation scores of the final weights."""
    history: list[Validation]
    """Every validation on the way."""
    precision: str
    """float32 or bfloat16; with `auto`, the one that was chosen."""


def train(
    model: nn.Module,
    objective: Objective,
    batches: BatchStream,
    *,
    options: TrainingOptions,
    validate: Callable[[], Mapping[str, float]],
    out: Path,
    branch: Path | None = None,
    scored_by: str = "",
    slower: Collection[nn.Parameter] = (),
    factor: float = 1.0,
    rounded: Callable[[int], AbstractContextManager[None]] = nullcontext,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """Trains until `max_updates` or until patience ends, continuing exactly where an earlier run in `out` stopped.

    A larger `max_updates` continues a finished run to the bytes of one that long, if the schedule can grow.

    An update is Adam's step on the gradient of the summed losses divided by the number of labels, over all its
    micro-batches and ranks. Every random draw of an update is seeded by (seed, update, micro-batch), so a continued
    run, or one on other ranks, draws the same.

    Args:
        objective: the loss of one batch; the model, and whatever else it needs, is bound in it.
        validate: scores of the model as it is, in evaluation mode; must hold `options.metric`. Called on every rank.
        out: checkpoints and `log.jsonl` are written here.
        branch: a checkpoint of another training, where this one begins and, by schedule wsd, its decay.
        scored_by: signature of the metric, for the log.
        slower: parameters of the model whose learning rate is multiplied by `factor`.
        rounded: of an update; while it is open, the model computes as the loss of this update wants it, such as it will
            when quantised, for `options.quantize`. The weights that are stepped and saved are those outside.
        ranks: the processes that train together, from `distributed.joined`.

    Raises:
        UserError: a checkpoint of another run, or cut or altered; a loss that is not finite; a device not there.
    """
    assert options.quantize is None or rounded is not nullcontext, "quantize is rounded by the caller's `rounded`"
    device = _prepare(model, options, ranks)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = adam(parameters, weight_decay=options.weight_decay, slower=slower, factor=factor)
    begin_update = model.begin_update if isinstance(model, CountsUpdates) else lambda: None
    told = model.log_metrics if isinstance(model, HasLogMetrics) else dict
    folder, end = out / "checkpoints", end_of(options.schedule, options.max_updates, options.decay, branch=branch)
    with locked(folder) if ranks.first else nullcontext():
        run = _resume(folder, model, optimizer, batches, options, end, branch, ranks)
        shown = progress or Silent()
        with Log(out, run, options=options, progress=shown, silent=not ranks.first, scored_by=scored_by) as log:
            draw, begun, records = partial(next, batches), run.update > 0, branch.parent if branch else folder
            with rounded(run.update + 1):
                settled = settle(
                    model, optimizer, objective, draw, options=options, begun=begun, folder=records, ranks=ranks
                )
            if settled.measured:
                batches.log_metrics()  # of updates that were only timed
                told()
            log.settled(settled)
            # `iter(draw, None)` calls `draw` for ever, as no batch is None.
            dtype, upcoming = settled.dtype, chain(settled.drawn, iter(draw, None))
            while run.update < options.max_updates and not exhausted(run.history, options):
                run.update += 1
                begin_update()
                rate = scheduled_rate(run.update, options, stable=end.stable)
                loss_sum, count = torch.zeros((), device=device), 0
                with rounded(run.update):  # roll-outs, which `next` may write, too
                    for micro_batch in ranks.share(options.accumulate):
                        seed_everything(options.seed, run.update, micro_batch)
                        batch = next(upcoming).to(device)
                        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                            loss = objective(batch)
                        loss.total.backward()  # of a sum: gradients of micro-batches and ranks add up
                        loss_sum, count = loss_sum + loss.total.detach(), count + loss.count
                # Labels are counted over all micro-batches and ranks before anything is divided: every label weighs the
                # same, in however many pieces and on however many processes the update was computed.
                ranks.sum_gradients(parameters)
                loss_sum, count = ranks.all_sum(float(loss_sum), count)
                norm = divide_and_clip(parameters, count=count, clip_norm=options.clip_norm)
                check_finite(norm, run.update)
                step(optimizer, rate)
                log.updated(
                    run,
                    loss_sum=loss_sum,
                    count=count,
                    rate=rate,
                    norm=norm,
                    log_metrics=lambda: {**batches.log_metrics(), **told()},
                )

                if validation_due := run.update % options.validate_every == 0 or run.update == options.max_updates:
                    scores = _scores(model, validate, options.metric)
                    run.history.append(Validation(run.update, scores))
                    log.validated(run)
                saving_due = run.update == end.stable or (options.save_every and run.update % options.save_every == 0)
                if validation_due or saving_due:
                    _save(folder, model, optimizer, run, batches, options, end, ranks)
                    log.restart_clock()
        return _finish(folder, model, run, validate, options, end, ranks, settled.precision)


def seed_everything(seed: int, update: int, micro_batch: int) -> None:
    """Seeds torch (every device), numpy and Python for one micro-batch, each triple with draws of its own."""
    mixed = int(np.random.SeedSequence((seed, update, micro_batch)).generate_state(1)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)


def _prepare(model: nn.Module, options: TrainingOptions, ranks: Ranks) -> torch.device:
    """Settles device, threads and memory; every rank begins with the first rank's weights."""
    if options.accumulate % ranks.size:
        raise UserError(
            f"accumulate {options.accumulate} batches cannot be shared evenly by {ranks.size} processes: give a "
            f"multiple of {ranks.size} (an update has `accumulate` batches over all processes together)"
        )
    device = ranks.device if ranks.size > 1 else choose_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    if device.type == "cuda":  # the same bytes again, also after a resume
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        keep_freed_memory()
    model.to(device).train()
    ranks.broadcast(model)
    return device


def _scores(model: nn.Module, validate: Callable[[], Mapping[str, float]], metric: str) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        scores = dict(validate())
    model.train()
    assert metric in scores, f"validate() gave {sorted(scores)}, but the metric is {metric}"
    return scores


def _record(options: TrainingOptions) -> Record:
    """Everything that decides the weights at each update; the last update and the averaging may change."""
    ends = {"patience", "average", "average_count", "decay"}
    if options.schedule in GROWING:
        ends.add("max_updates")
    values = {name: value for name, value in options.values(TrainingOptions).items() if name not in ends}
    return Record("training", values, defaults=TrainingOptions.defaults())


def _resume(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: BatchStream,
    options: TrainingOptions,
    end: End,
    branch: Path | None,
    ranks: Ranks,
) -> Run:
    """Puts model, optimizer and batches where the newest checkpoint left them; a new Run where there is none."""
    place = checkpoint.find(folder, record=_record(options), end=end, branch=branch)
    if place is None:
        return Run()
    run, streams = checkpoint.load(place, model, optimizer)
    if len(streams) not in (1, ranks.size):
        raise UserError(
            f"{folder}: written by {len(streams)} processes with batches of their own; continue with that many, "
            f"not {ranks.size}"
        )
    # One stream is that of every rank; several are one for each.
    batches.restore(streams[ranks.rank % len(streams)])
    run.history = [] if place == branch else regular(run.history, options)
    run.rows = 0 if place == branch else run.rows
    ranks.barrier()  # every rank has read what is deleted now
    if ranks.first:
        checkpoint.drop_after(folder, run.update)
    return run


def _save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    batches: BatchStream,
    options: TrainingOptions,
    end: End,
    ranks: Ranks,
) -> None:
    """Writes a checkpoint on the first rank, and deletes those that are no longer needed."""
    streams = ranks.gather(dict(batches.state()))
    for stream in streams:  # only the first rank writes the log
        if "sums" in stream:
            stream["sums"] = streams[0]["sums"]
    # Ranks that read alike need one entry, and may then go on as any number of processes.
    if all(stream == streams[0] for stream in streams):
        streams = streams[:1]
    if ranks.first:
        checkpoint.save(folder, model, optimizer, run, record=_record(options), end=end, streams=streams)
        checkpoint.prune(folder, newest=options.keep, updates=needed_updates(run.history, options, end))
    ranks.barrier()


def _finish(
    folder: Path,
    model: nn.Module,
    run: Run,
    validate: Callable[[], Mapping[str, float]],
    options: TrainingOptions,
    end: End,
    ranks: Ranks,
    precision: str,
) -> TrainingResult:
    """Loads the mean of the chosen checkpoints into the model and scores it."""
    updates = final_updates(run.history, options)
    assert updates, "the last update is validated, and what patience ends was"
    if ranks.first:  # again: the run may have been killed within the last one
        checkpoint.prune(folder, newest=options.keep, updates=needed_updates(run.history, options, end))
    folders = [folder / f"{update:08d}" for update in updates]
    checkpoint.load_weights(model, checkpoint.average(folders), where=folder)
    scores = next(row.scores for row in run.history if row.update == updates[-1])
    if len(updates) > 1:
        scores = _scores(model, validate, options.metric)
    ranks.barrier()
    return TrainingResult(model.eval(), run.update, updates, scores, run.history, precision)
