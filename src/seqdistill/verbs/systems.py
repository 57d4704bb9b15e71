"""Which model was trained on which data and scored how: stages of a directory, joined by the hashes in their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, fingerprint, status


@dataclass(frozen=True)
class System:
    """An evaluated model."""

    name: str
    """Of the training stage, or of the evaluation where the model was trained elsewhere."""
    model: str
    """As `train --model`; empty where the model was trained elsewhere."""
    data: str
    """real or distilled, as the model's training data was made; empty where it was made elsewhere."""
    evaluation: Path
    """Directory of the evaluation."""
    training: Path | None
    """Directory of the training."""
    scores: Mapping[str, Any]
    """Content of scores.json."""
    speed: Mapping[str, float]
    """Content of speed.json."""


def systems_in(directory: Path) -> list[System]:
    """Every finished evaluation in the folders of `directory`, in the order in which they were made.

    Raises:
        UserError: no such directory.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; give the output directory of a run")
    stages = {path: read_json(path / FINISHED) for path in sorted(directory.iterdir()) if status(path) == "finished"}
    by_content = {fingerprint(path): path for path in stages}
    systems = []
    for path, manifest in stages.items():
        if manifest["kind"] != "evaluate":
            continue
        training = by_content.get(manifest["inputs"]["model"])
        trained = stages[training] if training else None
        data = by_content.get(trained["inputs"]["data"]) if trained else None
        kinds = {"prepare": "real", "distill": "distilled"}
        systems.append(
            System(
                name=training.name if training else path.name,
                model=trained["settings"]["model"] if trained else "",
                data=kinds[stages[data]["kind"]] if data else "",
                evaluation=path,
                training=training,
                scores=read_json(path / "scores.json"),
                speed=read_json(path / "speed.json"),
            )
        )
    return sorted(systems, key=lambda system: (system.evaluation / FINISHED).stat().st_mtime_ns)


def systems_table(directory: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, as text, of what a person wants to see first."""
    systems = systems_in(directory)
    metrics = list(dict.fromkeys(name for system in systems for name in system.scores["signatures"]))
    header = ["system", "trained on", *metrics, "parameters", "ms a sentence", "sentences/s"]
    return header, [
        [
            system.name,
            system.data,
            *(f"{system.scores[name]:.2f}" if name in system.scores else "" for name in metrics),
            f"{system.scores['parameters'] / 1e6:.1f} M",
            f"{system.speed.get('milliseconds_per_sentence', float('nan')):.1f}",
            f"{system.speed['sentences_per_second']:.0f}",
        ]
        for system in systems
    ]
