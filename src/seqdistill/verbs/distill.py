"""`distill`: a teacher rewrites the training targets of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seqdistill.distillation.sequence import distil
from seqdistill.progress import Progress
from seqdistill.settings import DistillSettings


def distill(settings: DistillSettings, out: Path, progress: Progress) -> dict[str, Any]:
    """Decodes the training sources into `out`/shards, then writes `out` as a data directory.

    Raises:
        UserError: validation or test text among the training sources, a damaged shard, a foreign teacher; see the parts.
    """
    return distil(
        data=settings.data,
        teacher=settings.teacher,
        out=out,
        options=settings.options(n_best=settings.n_best),
        engine=settings.engine,
        compute_type=settings.compute_type,
        device=settings.device,
        workers=settings.workers,
        select=settings.select,
        select_among=settings.select_among,
        shard_lines=settings.shard_lines,
        student_data=settings.student_data,
        progress=progress,
    )
