"""A training that is cut off once a checkpoint is written, as by a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqdistill.training import checkpoint


class Cut(Exception):
    """Stands for the kill."""


def cut_after(update: int, run: Callable[[], Any]) -> None:
    """Calls `run`, which trains, and cuts it off after the checkpoint of this update."""
    save = checkpoint.save

    def cut(folder: Path, model: Any, optimizer: Any, run: Any, **others: Any) -> Path:
        path = save(folder, model, optimizer, run, **others)
        if run.update == update:
            raise Cut
        return path

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        patch.setattr(checkpoint, "save", cut)
        run()
