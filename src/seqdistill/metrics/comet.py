"""COMET (Rei et al. 2020) by its own package, an extra; its model is downloaded or read the way that package does."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from seqdistill.errors import UserError
from seqdistill.metrics.metric import SentenceMean

BATCH_SIZE = 32


def comet(model: str, sources: Sequence[str] | None, *, gpus: int) -> SentenceMean:
    """Mean of a COMET model's sentence scores; text is read as it is, case and all.

    Args:
        model: a name that COMET knows, such as `Unbabel/wmt22-comet-da`, or the path of a checkpoint (.ckpt).
        sources: the source line of each hypothesis.
        gpus: devices to use; 0 is the CPU.

    Raises:
        UserError: the package is missing, no sources are given, their count differs, or the model cannot be had.
    """
    if sources is None:
        raise UserError("COMET compares with the source text as well: give the source lines of the test set")
    package = _package()
    predictor = _load(package, model)

    def score_sentences(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        if len(sources) != len(hypotheses):
            raise UserError(
                f"{len(sources):,} source lines but {len(hypotheses):,} hypotheses: COMET needs one source line for "
                "each hypothesis line; check that the files belong to the same test set"
            )
        triples = zip(sources, hypotheses, references, strict=True)
        rows = [{"src": source, "mt": hypothesis, "ref": reference} for source, hypothesis, reference in triples]
        prediction = predictor.predict(rows, batch_size=BATCH_SIZE, gpus=gpus, progress_bar=False)
        return [float(value) for value in prediction.scores]

    return SentenceMean("comet", f"model:{_model_name(model)}|version:{_version()}", score_sentences)


def _package() -> ModuleType:
    try:
        return importlib.import_module("comet")
    except ImportError as error:
        raise UserError(
            f"COMET needs its own package ({error}); install it with: pip install 'seqdistill[comet]'"
        ) from None


def _load(package: ModuleType, model: str):
    path = model
    if not Path(model).is_file():
        if model.endswith(".ckpt"):
            raise UserError(f"{model}: no such checkpoint; give the path of a COMET checkpoint, or a model's name")
        try:
            path = package.download_model(model)
        except Exception as error:
            raise UserError(
                f"COMET model {model!r} could not be downloaded ({type(error).__name__}: {error}); check its name and "
                "the connection, or give the path of a checkpoint on this machine"
            ) from error
    return package.load_from_checkpoint(path)


def _model_name(model: str) -> str:
    return Path(model).stem if Path(model).is_file() else model


def _version() -> str:
    try:
        return f"unbabel-comet-{importlib.metadata.version('unbabel-comet')}"
    except importlib.metadata.PackageNotFoundError:
        return "unbabel-comet"
