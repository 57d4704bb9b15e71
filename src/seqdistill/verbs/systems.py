"""Which model was trained on which data and scored how: the stages of a directory, joined by their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, checked, recorded, recorded_fingerprint, stages_at, status
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import Comparison, compare
from seqdistill.options import MetricOptions
from seqdistill.text.lines import read_lines
from seqdistill.visible import visible


@dataclass(frozen=True)
class System:
    """An evaluated model."""

    name: str
    """Of the stage that made the model, a training or an export; of the evaluation where it was made elsewhere."""
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
    """Content of speed.json; empty where `bench` measured models of the same directory as they are deployed."""


def systems_in(directory: Path) -> list[System]:
    """Every finished evaluation in a directory (see `stages_at`), in the order in which they were made.

    Raises:
        UserError: as `stages_at`.
    """
    stages = {path: recorded(path) for path in stages_at(directory) if status(path) == "finished"}
    by_content = {recorded_fingerprint(manifest): path for path, manifest in stages.items()}
    timed = any(manifest["kind"] == "bench" for manifest in stages.values())
    systems = []
    for path, manifest in stages.items():
        if manifest["kind"] != "evaluate":
            continue
        made = by_content.get(manifest["inputs"]["model"])
        training = _training(made, stages, by_content)
        trained = stages[training] if training else None
        data = by_content.get(trained["inputs"]["data"]) if trained else None
        kinds = {"prepare": "real", "distill": "distilled"}
        systems.append(
            System(
                name=visible((made or path).name),
                model=trained["options"]["model"] if trained else "",
                data=kinds[stages[data]["kind"]] if data else "",
                evaluation=path,
                training=training,
                scores=read_json(checked(path / "scores.json")),
                speed={} if timed else read_json(checked(path / "speed.json")),
            )
        )
    return sorted(systems, key=lambda system: (system.evaluation / FINISHED).stat().st_mtime_ns)


def _training(
    made: Path | None, stages: Mapping[Path, Mapping[str, Any]], by_content: Mapping[str, Path]
) -> Path | None:
    """The training that made a model; of an exported one, that of what it was made of."""
    if made is not None and stages[made]["kind"] == "export":
        return by_content.get(stages[made]["inputs"]["model"])
    return made


def row_of(system: System) -> dict[str, Any]:
    """What tables and results show of a system, with its metrics' signatures."""
    metrics = system.scores["signatures"]
    return {
        "system": system.name,
        "model": system.model or None,
        "data": system.data or None,
        **{name: system.scores[name] for name in metrics},
        **({"perplexity": system.scores["perplexity"]} if "perplexity" in system.scores else {}),
        **{name: system.scores[name] for name in ("passes", "iterations") if name in system.scores},
        "parameters": system.scores["parameters"],
        **({"engine": system.scores["engine"]} if "engine" in system.scores else {}),
        **dict(system.speed),
        **{f"{name}_signature": signature for name, signature in metrics.items()},
    }


def metric_options(system: System) -> MetricOptions:
    """How the system's BLEU was computed."""
    lowercase = "case:lc" in system.scores["signatures"]["bleu"]
    return MetricOptions(lowercase=lowercase, tokenize=system.scores["tokenize"])


def gains(systems: Sequence[System]) -> dict[str, Comparison]:
    """BLEU of models trained on distilled data against the same ones trained on real data, by paired bootstrap.

    The same: model, sizes, objective and seed of the training, and how the outputs were decoded.
    """
    real, distilled = (
        [(system, _conditions(system)) for system in systems if system.data == data] for data in ("real", "distilled")
    )
    return {
        f"{system.name} over {baseline.name}": gain(baseline, system)
        for system, wanted in distilled
        for baseline, there in real
        if there == wanted
    }


def gain(baseline: System, system: System) -> Comparison:
    """BLEU of one system against that of another on the same text, by paired bootstrap."""
    number = baseline.scores.get("num_references", 1)
    metric = create_metric("bleu", metric_options(baseline), num_references=number)
    before, after = (list(read_lines(checked(each.evaluation / "hypotheses.txt"))) for each in (baseline, system))
    return compare(metric, before, after, list(read_lines(checked(baseline.evaluation / "references.txt"))))


def _conditions(system: System) -> tuple[Any, ...]:
    """What two systems have in common that differ only in their data."""
    assert system.training is not None, "systems with data have a training"
    trained, evaluated = (recorded(path) for path in (system.training, system.evaluation))
    exported = evaluated["options"].get("engine") == "compiled" and system.scores["engine"]  # and its precision
    return *(trained["options"][name] for name in ("model", "set", "objective", "seed")), evaluated["options"], exported
