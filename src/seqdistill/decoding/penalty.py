"""The penalty on inserting nothing (Stern et al. 2019; Gu et al. 2019), tuned on validation data, and the file that
keeps it for its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqdistill.decoding.engine import Engine
from seqdistill.errors import UserError
from seqdistill.options import DecodingOptions
from seqdistill.seals import read_sealed, write_sealed

FORMAT = "seqdistill penalty 1"
FILE = "penalty.json"


class Trial(NamedTuple):
    """A penalty and how good it is."""

    penalty: float
    score: float
    """Score of the outputs; higher is better."""
    passes: float
    """Mean over sentences with words."""
    iterations: float
    """The same."""


def try_penalty(
    engine: Engine,
    sources: Sequence[str],
    score: Callable[[Sequence[str]], float],
    *,
    penalty: float,
    options: DecodingOptions,
) -> Trial:
    """Decodes a text with a penalty.

    Args:
        score: of all outputs together, such as BLEU.
        options: their own penalty is not used.

    Raises:
        UserError: a model that inserts no words.
    """
    found = [hypotheses[0] for hypotheses in engine.decode(sources, options.replaced(penalty=penalty))]
    passes, iterations = mean_effort([(best.passes, best.iterations) for best in found])
    return Trial(penalty, score([best.text for best in found]), passes, iterations)


def mean_effort(efforts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Mean passes and iterations of a non-autoregressive model; sentences without words do not count."""
    counted = [effort for effort in efforts if effort[1]]
    if not counted:
        return 0.0, 0.0
    return sum(passes for passes, _ in counted) / len(counted), sum(count for _, count in counted) / len(counted)


def best_of(trials: Sequence[Trial]) -> Trial:
    """The highest score; among equals the penalty nearest to 0."""
    return max(trials, key=lambda trial: (trial.score, -abs(trial.penalty)))


def write_penalty(path: Path, penalty: float, *, fingerprint: str, details: Mapping[str, Any]) -> None:
    """Writes a penalty file.

    Args:
        fingerprint: of the model that the penalty was tuned for.
        details: how it was found, as JSON.
    """
    write_sealed(path, {"format": FORMAT, "model": fingerprint, "penalty": penalty, **details})


def read_penalty(path: Path, *, fingerprint: str) -> float:
    """The penalty of a file, or of the directory of `tune-penalty`, for the model with this fingerprint.

    Raises:
        UserError: no such file, no penalty file, an altered one, or one of another model.
    """
    path = path / FILE if path.is_dir() else path
    remedy = "give the file that `seqdistill tune-penalty` wrote for this model"
    stored = read_sealed(path, remedy=remedy)
    if stored.get("format") != FORMAT:
        raise UserError(f"{path}: not a penalty file; {remedy}")
    if stored.get("model") != fingerprint:
        raise UserError(
            f"{path}: is for another model (fingerprint {str(stored.get('model'))[:12]}, but this one has "
            f"{fingerprint[:12]}); run `seqdistill tune-penalty` for this model"
        )
    return float(stored["penalty"])
