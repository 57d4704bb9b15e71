"""The log of a training: one JSON object a line, a progress bar, and TensorBoard's files if wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import plain, write_text
from seqdistill.machine import machine
from seqdistill.options import TrainingOptions
from seqdistill.progress import Progress
from seqdistill.seals import read_rows, sealed_row
from seqdistill.training.checkpoint import Run
from seqdistill.training.history import chosen, equals
from seqdistill.training.precision import Settled

_VALIDATIONS = ("valid", "tie")
"""Kinds of rows about a validation."""
_REMEDY = "copy it again; to train on without the rows so far, delete it: a row `lost` will stand for them"


class Log:
    """Writes `log.jsonl`. A continued run first drops the rows after its checkpoint: they come again."""

    def __init__(
        self,
        out: Path,
        run: Run,
        *,
        options: TrainingOptions,
        progress: Progress,
        silent: bool,
        scored_by: str = "",
    ):
        """Args:
            run: where training begins; rows after its update are dropped. One that goes on on another machine, or with
                another number of threads, gets a row of it.
            silent: write and report nothing (all ranks but the first).
            scored_by: signature of the metric that decides which checkpoint is best; the first row.

        Raises:
            UserError: TensorBoard is wanted, but not installed; an altered log, or one that has lost rows.
        """
        self._silent, self._options, self._progress, self._run = silent, options, progress, run
        self._writer = None
        if not silent:
            path = out / "log.jsonl"
            write_text(path, "".join(_rows_until(path, run)))
            self._file = path.open("a", encoding="utf-8")
            if options.tensorboard:
                self._writer = _tensorboard(out / "tensorboard", run.update)
            progress.start("training", total=options.max_updates, unit="updates", done=run.update)
        if run.update == 0 and scored_by:
            self._write("metric", 0, {"metric": options.metric, "signature": scored_by})
        if run.machine and run.machine != machine():
            self._write("machine", run.update, machine())
        run.machine = machine()
        self.restart_clock()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._silent:
            self._file.close()
            self._progress.finish()
        if self._writer is not None:
            self._writer.close()

    def restart_clock(self) -> None:
        """Restarts the measurement of tokens per second."""
        self._began, self._labels = time.monotonic(), 0.0

    def settled(self, settled: Settled) -> None:
        """Reports what the training computes in, with a row of the log if that was measured just now."""
        if not self._silent:
            self._progress.advance(0, precision=settled.precision)
        if settled.measured:
            seconds = {f"{name}_seconds": round(value, 4) for name, value in settled.measured._asdict().items()}
            self._write("precision", 0, {"precision": settled.precision} | seconds)
        self.restart_clock()

    def updated(
        self,
        run: Run,
        *,
        loss_sum: float,
        count: float,
        rate: float,
        norm: float,
        log_metrics: Callable[[], Mapping[str, float]],
    ) -> None:
        """Reports an update: its summed loss and labels, learning rate, and gradient norm before clipping.

        The log gets a row each `log_every` updates, with the loss per label since the row before, and `log_metrics`.
        """
        run.loss, run.labels, self._labels = run.loss + loss_sum, run.labels + count, self._labels + count
        speed = self._labels / max(time.monotonic() - self._began, 1e-9)
        if not self._silent:
            self._progress.advance(1, loss=loss_sum / count, lr=rate, tokens_per_second=speed)
        if run.update % self._options.log_every == 0:
            row = {"loss": run.loss / run.labels, "learning_rate": rate, "gradient_norm": norm}
            self._write("train", run.update, row | {"tokens_per_second": round(speed, 1)} | dict(log_metrics()))
            run.loss, run.labels = 0.0, 0.0
            self.restart_clock()

    def validated(self, run: Run) -> None:
        """Reports the scores of the last validation; if several are best by the metric alone, which of them is kept."""
        last, metric = run.history[-1], self._options.metric
        self._write("valid", last.update, last.scores)
        if last.update in (tied := equals(run.history, metric)):
            (kept,) = chosen(run.history, metric=metric, average="best", count=1)
            self._write("tie", last.update, {f"equal_{metric}": tied, "lowest_loss": kept})

    def _write(self, kind: str, update: int, log_metrics: Mapping[str, Any]) -> None:
        if self._silent:
            return
        row = {"kind": kind, "update": update} | dict(log_metrics)
        self._file.write(sealed_row(row) + "\n")
        self._run.rows += _counted([row])
        self._file.flush()
        if self._writer is not None:
            for name, value in log_metrics.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{kind}/{name}", value, update)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a training's log.jsonl; a last row that a kill cut short, or that is being written, is left out.

    Raises:
        UserError: no such file, or a row that was altered.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such log; it is written by seqdistill train")
    *lines, cut = plain(path).read_bytes().decode(errors="replace").split("\n")
    if cut[-2:-1] == "}":  # a whole row and another character: its line end was altered
        lines.append(cut)
    return read_rows(path, lines, remedy=_REMEDY)


def _rows_until(path: Path, run: Run) -> list[str]:
    """The rows of the run up to its update.

    Raises:
        UserError: as `read_log`; a row that must be there is not.
    """
    if not path.exists():
        run.rows = 0
        return [sealed_row({"kind": "lost", "update": run.update}) + "\n"] if run.history else []
    rows, validated = read_log(path), {validation.update for validation in run.history}

    def stays(row: dict[str, Any]) -> bool:
        if row["kind"] == "metric":  # the first row: a run that begins again writes it again
            return run.update > 0
        # A validation stays if the run has kept it: that at the end of a shorter training is dropped when it grows.
        kept = row["kind"] not in _VALIDATIONS or row["update"] in validated
        return kept and row["update"] <= run.update

    kept = [row for row in rows if stays(row)]
    lost = max((row["update"] for row in kept if row["kind"] == "lost"), default=-1)
    there = {row["update"] for row in kept if row["kind"] == "valid"}
    if not there.issuperset(update for update in validated if update > lost) or _counted(kept) < run.rows:
        raise UserError(f"{path}: rows are missing that were there; {_REMEDY}")
    return [sealed_row(row) + "\n" for row in kept]


def _counted(rows: Iterable[Mapping[str, Any]]) -> int:
    """How many rows `Run.rows` counts: validations, which a run that grows may drop, are known by its history."""
    return sum(row["kind"] not in (*_VALIDATIONS, "lost") for row in rows)


def _tensorboard(directory: Path, update: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("tensorboard is not installed: `pip install tensorboard`, or train without it") from None
    try:
        str(directory).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{directory}: TensorBoard writes into no folder whose name is not UTF-8: give --no-tensorboard, or "
            "another --out"
        ) from None
    return SummaryWriter(str(directory), purge_step=update + 1)
