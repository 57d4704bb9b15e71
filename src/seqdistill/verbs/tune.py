"""`tune`: the penalty on inserting nothing that gives a model its best validation BLEU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqdistill.data.directory import DataDirectory
from seqdistill.decoding.corpus import NativeEngine
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.decoding.penalty import FILE, Trial, best_of, try_penalty, write_penalty
from seqdistill.errors import UserError
from seqdistill.files import read_json, write_json
from seqdistill.metrics.scores import MetricOptions, create_metric
from seqdistill.models.saved import load_model
from seqdistill.progress import Progress
from seqdistill.settings import TuneSettings
from seqdistill.training.optim import choose_device

TRIALS = "trials.json"
"""What was tried so far: a run that was cut off goes on after it."""


def check(settings: TuneSettings) -> None:
    """Raises UserError for penalties that cannot be tried, or options of decoding out of range."""
    penalties = settings.penalties
    if not penalties or len(set(penalties)) < len(penalties) or not all(map(math.isfinite, penalties)):
        raise UserError(f"penalties: expected one or more different numbers, found {penalties}")
    _options(settings)


def tune(settings: TuneSettings, out: Path, progress: Progress) -> dict[str, Any]:
    """Decodes the validation sources greedily with each penalty; writes penalty.json.

    Raises:
        UserError: no validation data; a model that inserts no words.
    """
    check(settings)
    data = DataDirectory.open(settings.data)
    if data.valid is None:
        raise UserError(
            f"{settings.data}: holds no validation data, which decides the penalty; run `seqdistill prepare` with "
            "--valid-source and --valid-target, or --valid-size"
        )
    sources, references = list(data.valid.sources()), list(data.valid.targets())
    loaded = load_model(settings.model, choose_device(settings.device))
    if not (loaded.model.parallel and loaded.model.inserts):
        raise UserError(
            f"{settings.model}: inserts no words, so there is no penalty to tune; it is for Insertion and Levenshtein "
            "Transformers"
        )
    engine = NativeEngine(loaded.model, loaded.tokenizers, device=choose_device(settings.device))
    lowercase = settings.lowercase or loaded.tokenizers.target.lowercase
    metric = create_metric("bleu", MetricOptions(lowercase=lowercase, tokenize=settings.tokenize))
    signature = metric.corpus(references, references).signature

    def bleu(hypotheses: Sequence[str]) -> float:
        return round(metric.corpus(hypotheses, references).value, 4)

    trials = [Trial(**row) for row in read_json(out / TRIALS)] if (out / TRIALS).exists() else []
    progress.start("trying penalties", total=len(settings.penalties), unit="penalties", done=len(trials))
    for penalty in settings.penalties[len(trials) :]:
        trials.append(try_penalty(engine, sources, bleu, penalty=penalty, options=_options(settings)))
        write_json(out / TRIALS, [trial._asdict() for trial in trials])
        progress.advance()
    progress.finish()
    best = best_of(trials)
    found = {
        "bleu": best.score,
        "bleu_signature": signature,
        "passes": round(best.passes, 4),
        "iterations": round(best.iterations, 4),
        "trials": [trial._asdict() for trial in trials],
    }
    write_penalty(
        out / FILE,
        best.penalty,
        fingerprint=loaded.fingerprint,
        details=found | {"validation_data": data.valid.fingerprint},
    )
    return {"penalty": best.penalty, **found}


def _options(settings: TuneSettings) -> DecodingOptions:
    return DecodingOptions(iterations=settings.iterations, max_length=settings.max_length, max_ratio=settings.max_ratio)
