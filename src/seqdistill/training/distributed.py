"""Several processes that train one model: sums, broadcasts and barriers. With one process each is the identity."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from seqdistill.errors import UserError
from seqdistill.machine import processes

T = TypeVar("T")

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """This process among the processes that train together.

    Gradients are summed, not averaged, over ranks: the loop divides them once, by the labels of all ranks. This is why
    DistributedDataParallel, which averages over processes, is not used.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    """Where this rank trains: its GPU, talking through nccl, or the CPU, through gloo."""

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes and reports."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The numbers of 0..count-1 that are this rank's: every size-th."""
        return range(self.rank, count, self.size)  # of 4 for 2 ranks: 0 2 and 1 3

    def all_sum(self, *values: int | float) -> list[float]:
        """Sums each value over the ranks, in float64."""
        if self.size == 1:
            return [float(value) for value in values]
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return summed.tolist()

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Adds up every parameter's gradient over the ranks; a parameter that no loss reached gets zeros."""
        for parameter in parameters:
            # All ranks must send messages of one length, whichever parameters their losses reached.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # One message for all parameters: a small model has hundreds of them, and each message costs a round trip.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def broadcast(self, model: nn.Module) -> None:
        """Gives every rank the first rank's parameters and buffers."""
        if self.size > 1:
            for tensor in [*model.parameters(), *model.buffers()]:
                dist.broadcast(tensor.detach(), src=0)

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in the order of ranks, on every rank."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Waits until every rank is here."""
        if self.size > 1:
            dist.barrier()


ALONE = Ranks()
"""One process by itself."""


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, or yields ALONE where it started none.

    Each process on a GPU takes the one of its local rank. All ranks must see the same output directory.

    Raises:
        UserError: more processes than GPUs.
    """
    if processes() == 1:
        yield ALONE
        return
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(
                f"torchrun started local rank {local}, but there are {torch.cuda.device_count()} GPUs: "
                "give --nproc-per-node at most that number"
            )
        torch.cuda.set_device(local)
        device = torch.device("cuda", local)
    # Its functions' default group is the one that exists when they are imported, which the optimizer does by way of
    # torch._dynamo. Were that after the next line, they would keep the group beyond its end, and gloo's threads, still
    # running when the interpreter ends, would now and then abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
