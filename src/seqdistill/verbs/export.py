"""`export`: a trained model as one directory for an engine that translates, compared with what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from seqdistill.errors import UserError
from seqdistill.exported import CONVERTED, DESCRIPTION, LISTING, VERIFIED, is_exported
from seqdistill.files import write_text
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.tokenizers import completed
from seqdistill.models.family import FAMILIES, not_run
from seqdistill.models.saved import LoadedModel, family_of, load_model
from seqdistill.native.directory import TOKENIZER, WEIGHTS
from seqdistill.native.shortlist import SHORTLIST
from seqdistill.native.student import Student
from seqdistill.options import ExportOptions, MetricOptions
from seqdistill.progress import Progress
from seqdistill.runtime.conversion import write_conversion
from seqdistill.runtime.converted import VMAP
from seqdistill.runtime.ctranslate2_engine import CTranslate2Engine, compute_types
from seqdistill.runtime.exported_engine import CompiledEngine
from seqdistill.runtime.exporting.verification import Decoder, Text, verified
from seqdistill.runtime.exporting.writing import write_exported
from seqdistill.runtime.shortlists import Shortlist, Size, shortlist_of, shortlist_of_text, write_vmap
from seqdistill.verbs.measured import Measured, is_measured, measured_corpus
from seqdistill.verbs.texts import TestSet, text_of_data, text_of_files

OUTPUTS = (
    *(DESCRIPTION, WEIGHTS, SHORTLIST, f"{TOKENIZER}/*"),
    *(LISTING, CONVERTED, "config.json", "*_vocabulary.json", VMAP),
)
"""Files of the compiled engine, and of CTranslate2."""
METRICS = ("bleu", "chrf")
MOST_LOST = 0.3
"""BLEU that int8 may cost before `train --quantize` is advised."""


def check(settings: ExportOptions) -> None:
    """Raises UserError for text that is not whole, or given twice."""
    if (settings.valid_source is None) != (not settings.valid_target):
        raise UserError("valid_source and valid_target go together: the text to decode and its translations")
    if settings.valid_source is not None and settings.data is not None:
        raise UserError("data and valid_source both give the text that is decoded to compare; keep one")
    text = [name for name in ("data", "valid_source") if getattr(settings, name) is not None]
    if text and not settings.verify_lines:
        raise UserError(f"{text[0]} gives text to compare with, but verify_lines 0 compares nothing: leave one out")
    made = settings.shortlist is not None and not is_exported(settings.shortlist)
    for name in sorted({"shortlist_best", "shortlist_frequent"} & settings.model_fields_set if not made else ()):
        raise UserError(
            f"{name} says how large a shortlist is made, but none is: "
            + (f"that of {settings.shortlist} is taken as it is" if settings.shortlist else "give --shortlist too")
            + ", or leave it out"
        )
    if "workers" in settings.model_fields_set and not made and not text:
        raise UserError(f"workers {settings.workers}: nothing is aligned or compared here: leave it out")


def export(settings: ExportOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes the exported model, then decodes validation text with it and with the trained one, if there is any.

    Returns:
        "precision", "parameters", "bytes" on disk; "shortlist_words", in the shortlist of a sentence on average; and
        "verified", as `verification.verified` returns it; "advice" where int8 loses more than it should.

    Raises:
        UserError: a family that the engine does not run; a shortlist of another vocabulary; a data directory without
            validation text; measures whose text is gone.
    """
    check(settings)
    loaded = load_model(settings.model, expert=settings.expert)
    _check_family(settings.to, family_of(loaded.model))
    given = settings.shortlist
    measured = measured_corpus(given) if given is not None and is_measured(given) else None
    text = _validation_text(settings, measured)
    _check_comparison(settings, text)
    shortlist = _shortlist(settings, measured, loaded, progress)
    if settings.to == "compiled":
        write_exported(loaded, out, precision=settings.precision, shortlist=shortlist)
    else:
        vmap = partial(write_vmap, shortlist, loaded.tokenizers) if shortlist else None
        write_conversion(loaded, out, precision=settings.precision, write_vmap=vmap)
    results: dict[str, Any] = {
        "engine": settings.to,
        "precision": settings.precision,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "bytes": sum(path.stat().st_size for pattern in OUTPUTS for path in out.glob(pattern)),
    }
    if text is None:
        return results
    if shortlist is not None:
        sources = loaded.tokenizers.source.encode_batch(text.sources[: settings.verify_lines])
        results["shortlist_words"] = round(shortlist.mean_size(sources), 1)
    options = completed(
        MetricOptions(), text.languages or loaded.languages, lowercase=loaded.tokenizers.target.lowercase
    )
    metrics = {name: create_metric(name, options, num_references=text.num_references) for name in METRICS}
    lines = Text.of(text.sources, text.references, lines=settings.verify_lines)
    decoders = _decoders(settings, loaded, out, shortlisted=shortlist is not None)
    try:
        found = verified(loaded, decoders, lines, metrics, progress)
    except UserError:
        for name in (DESCRIPTION, LISTING):  # without which nothing takes it for an exported model
            (out / name).unlink(missing_ok=True)
        raise
    write_text(out / VERIFIED, found.table)
    return results | {"verified": found.results} | _advice(settings, found.results)


def _check_comparison(settings: ExportOptions, text: TestSet | None) -> None:
    """Raises UserError where a comparison that was asked for has no text, or cannot run on this processor."""
    if text is None and settings.verify_lines and "verify_lines" in settings.model_fields_set:
        raise UserError(
            f"verify_lines {settings.verify_lines}: there is no validation text to translate: give --data, or leave it "
            "out"
        )
    if text is not None and settings.to == "ctranslate2" and settings.precision not in (here := compute_types()):
        raise UserError(
            f"CTranslate2 does not compute in {settings.precision} on this processor, so what is exported cannot be "
            "compared with the trained model: give --verify-lines 0 (and no --data), and try it where it is to run, or "
            f"take another precision ({', '.join(name for name in ('int8', 'float32') if name in here)})"
        )


def _advice(settings: ExportOptions, found: Mapping[str, Any]) -> dict[str, str]:
    """What to do about the loss of int8 itself, without a shortlist; nothing where it is small."""
    lost = found[settings.precision]["bleu_loss"]
    if settings.to != "compiled" or settings.precision != "int8" or lost <= MOST_LOST:
        return {}
    return {
        "advice": f"int8 loses {lost:.2f} BLEU, more than {MOST_LOST}. What to do: finish the training in int8's "
        f"rounding, and export that: its `seqdistill train` again, with --init {settings.model} (and no --start-from), "
        "--quantize int8 --max-updates 300 --warmup 0 --schedule linear --learning-rate 1e-4 and another --out"
    }


def _check_family(engine: str, family: str) -> None:
    if refusal := not_run(family, engine):
        others = " or ".join(f"--to {other}" for other in FAMILIES[family].exporters)
        way_out = f"use {others}" if others else "it runs as it was trained, with --engine torch, and needs no export"
        raise UserError(f"{refusal}: {way_out}")


def _shortlist(
    settings: ExportOptions, measured: Measured | None, loaded: LoadedModel, progress: Progress
) -> Shortlist | None:
    if settings.shortlist is None:
        return None
    size = Size(settings.shortlist_best, settings.shortlist_frequent)
    run: dict[str, Any] = {"workers": settings.workers, "progress": progress}
    if measured is None:
        return shortlist_of(settings.shortlist, loaded.tokenizers, size, **run)
    return shortlist_of_text(measured.corpus.text, loaded.tokenizers, size, aligner=measured.aligner, **run)


def _validation_text(settings: ExportOptions, measured: Measured | None) -> TestSet | None:
    """What is decoded to compare: the text asked for, or that of the data the shortlist is made of, if it has any."""
    shortlisted = settings.shortlist if measured is None else measured.corpus.data
    if not settings.verify_lines:
        return None
    if settings.valid_source is not None:
        return text_of_files(settings.valid_source, settings.valid_target)
    if settings.data is not None:
        return text_of_data(settings.data, "valid")
    if shortlisted is not None and (shortlisted / "valid.arrow").is_file():
        return text_of_data(shortlisted, "valid")
    return None


def _decoders(settings: ExportOptions, loaded: LoadedModel, out: Path, *, shortlisted: bool) -> dict[str, Decoder]:
    """The exported model, and with its shortlist if it has one."""
    precision, decoders = settings.precision, dict[str, Decoder]()
    for vmap in (False, True) if shortlisted else (False,):
        name = f"{precision} with shortlist" if vmap else precision
        if settings.to == "compiled":
            decoders[name] = CompiledEngine(Student(out, threads=settings.workers, shortlist=vmap)).decode_ids
        else:
            decoders[name] = CTranslate2Engine(
                out, loaded.tokenizers, compute_type=precision, vmap=vmap, workers=settings.workers
            ).decode_ids
    return decoders
