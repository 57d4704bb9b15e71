"""`tune-penalty`: the penalty on inserting nothing that gives a model its best validation BLEU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from seqdistill.data.directory import DataDirectory
from seqdistill.data.targets import lines_of
from seqdistill.decoding.engine import GuidedEngine, described
from seqdistill.decoding.penalty import FILE, Trial, best_of, try_penalty, write_penalty
from seqdistill.errors import UserError
from seqdistill.exported import is_exported
from seqdistill.metrics.metric import reference_line, signature_of
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.tokenizers import completed
from seqdistill.models.saved import load_model
from seqdistill.options import DecodingOptions, MetricOptions, TunePenaltyOptions
from seqdistill.progress import Progress
from seqdistill.runtime.engines import create_engine
from seqdistill.runtime.exported_engine import exported_engine
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.text.languages import Languages
from seqdistill.verbs.trained import engine_options

TRIALS = "trials.json"
"""What was tried so far: a run that was cut off goes on after it."""


def tune_penalty(settings: TunePenaltyOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Decodes the validation sources greedily with each penalty; writes penalty.json.

    Raises:
        UserError: no validation data; a model that inserts no words.
    """
    text = _validation_text(settings)
    name = settings.engine_of_record
    options = engine_options(settings, name)
    if is_exported(settings.model):
        engine: GuidedEngine = exported_engine(settings.model, **options)
    else:
        engine = cast(GuidedEngine, create_engine(name, load_model(settings.model), **options))
    if not engine.traits.inserts:
        raise UserError(
            f"{settings.model}: inserts no words, so there is no penalty to tune; it is for Insertion and Levenshtein "
            "Transformers"
        )
    given = MetricOptions(lowercase=settings.lowercase, tokenize=settings.tokenize)
    options = completed(given, text.languages, lowercase=engine.tokenizers.target.lowercase)
    metric = create_metric("bleu", options, num_references=text.num_references)

    def bleu(hypotheses: Sequence[str]) -> float:
        return round(metric.corpus(hypotheses, text.references).value, 4)

    trials = _tried(out)
    title = f"trying penalties ({described(engine.fingerprint)})"
    progress.start(title, total=len(settings.penalties), unit="penalties", done=len(trials))
    for penalty in settings.penalties[len(trials) :]:
        trials.append(try_penalty(engine, text.sources, bleu, penalty=penalty, options=_options(settings)))
        write_sealed(out / TRIALS, {"trials": [trial._asdict() for trial in trials]})
        progress.advance()
    progress.finish()
    best = best_of(trials)
    found = {
        "bleu": best.score,
        "bleu_signature": signature_of(metric, text.sources, text.references),
        "trials": [trial._asdict() for trial in trials],
    }
    write_penalty(out / FILE, best.penalty, fingerprint=engine.fingerprint["model"], details=found)
    return {"penalty": best.penalty, **found}


def _tried(out: Path) -> list[Trial]:
    """What an earlier run of this stage tried."""
    if not (out / TRIALS).exists():
        return []
    kept = read_sealed(out / TRIALS, remedy=f"delete {out / TRIALS} and run the same again: it begins anew")
    return [Trial(**row) for row in kept["trials"]]


class _Text(NamedTuple):
    """Sources, each once, and their references as metrics read them."""

    sources: list[str]
    references: list[str]
    num_references: int
    languages: Languages


def _validation_text(settings: TunePenaltyOptions) -> _Text:
    data = DataDirectory.open(settings.data)
    if data.valid is None:
        raise UserError(
            f"{settings.data}: holds no validation data, which decides the penalty; run `seqdistill prepare` with "
            "--valid-source and --valid-target, or --valid-size"
        )
    number = data.num_targets["valid"]
    lines = list(lines_of(data.valid, num_targets=number))
    references = [reference_line(line.targets, num_references=number) for line in lines]
    return _Text([line.source for line in lines], references, number, data.languages)


def _options(settings: TunePenaltyOptions) -> DecodingOptions:
    limits = {name: getattr(settings, name) for name in ("iterations", "max_length", "max_ratio")}
    return DecodingOptions(beam=1, **limits)
