"""Why distill? The Bayesian decision theory study of Zhou et al. 2020, appendix D (equations 5 to 9), on random
hidden Markov models.

A non-autoregressive student cannot write several translations of one source, so a teacher decides for one. Posterior
decoding is the best decision for token accuracy and Viterbi decoding for sequence accuracy; the study asks whether
students with independent outputs, trained on what each of the two wrote, differ in the same way on held-out
pairs of the HMM.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from seqdistill.errors import UserError, nearest
from seqdistill.files import read_json, sha256, write_json
from seqdistill.metrics.significance import share
from seqdistill.progress import Progress
from seqdistill.studies.bilstm import BiLSTM, train
from seqdistill.studies.hmm import NORMALISE, posterior_decoding, random_hmms, sample, viterbi_decoding
from seqdistill.workers import in_processes

LARGEST = 100.0
"""Of a and b: beyond it, the softmax gives probabilities that are 0 in effect."""

SYSTEMS = ("real", "token_distilled", "sequence_distilled", "posterior", "viterbi")
"""Students by their training targets, then the two decoders that know the HMM."""


@dataclass(frozen=True)
class Design:
    """One run of the study; the paper's own sizes are not known to us, these are small enough for minutes."""

    a: Sequence[float] = (2.0, 4.0, 8.0)
    """Initial and transition parameters are uniform on (0, a]; every a is combined with every b."""
    b: Sequence[float] = (2.0, 4.0, 8.0)
    """Emission parameters are uniform on (0, b]."""
    normalise: str = "softmax"
    """A name in NORMALISE; see `random_hmms`."""
    hmms: int = 50
    """Random HMMs for each pair of a and b."""
    states: int = 5
    symbols: int = 10
    length: int = 6
    """Time steps of every sequence."""
    train_size: int = 20_000
    test_size: int = 20_000
    """Sequences for each HMM."""
    embedding: int = 8
    hidden: int = 16
    """Widths of the BiLSTM, the second in each direction."""
    updates: int = 300
    batch: int = 256
    """Sequences of an update."""
    learning_rate: float = 0.02
    seed: int = 1


def check(design: Design) -> None:
    """Raises UserError for values that do not make a study: a or b out of range, given twice, or without effect."""
    if design.normalise not in NORMALISE:
        raise UserError(f"unknown normalise {design.normalise!r}; {nearest(design.normalise, NORMALISE)}")
    for name, values in (("a", design.a), ("b", design.b)):
        if not values or not all(math.isfinite(value) and 0 < value <= LARGEST for value in values):
            raise UserError(f"{name}: expected numbers above 0, at most {LARGEST:g}, but got {list(values)}")
        if len(set(values)) < len(values):
            raise UserError(
                f"{name}: {list(values)} has a value twice, which would count the same HMMs twice; keep one"
            )
        if design.normalise == "sum" and len(values) > 1:
            raise UserError(
                f"{name}: {list(values)} are {len(values)} values, but dividing by the sum cancels them: give one, or "
                "normalise by softmax"
            )
    if not (math.isfinite(design.learning_rate) and design.learning_rate > 0):
        raise UserError(f"learning_rate: expected a number above 0, but got {design.learning_rate}")
    sizes = (
        "states",
        "symbols",
        "length",
        "hmms",
        "train_size",
        "test_size",
        "embedding",
        "hidden",
        "updates",
        "batch",
    )
    for name in sizes:
        least = 2 if name in ("states", "symbols") else 1
        if getattr(design, name) < least:
            raise UserError(f"{name}: expected at least {least}, but got {getattr(design, name)}")


class Unit(NamedTuple):
    """One HMM of the study."""

    a: float
    b: float
    number: int

    @property
    def file(self) -> Path:
        """Where its result lies in the study's directory."""
        return Path("hmms") / f"a{self.a}-b{self.b}-{self.number:03d}.json"


class Accuracy(NamedTuple):
    """Shares of held-out real targets that were written exactly, from 0 to 1."""

    token: float
    sequence: float


def accuracy(hypotheses: Int64[Tensor, "sequences time"], target: Int64[Tensor, "sequences time"]) -> Accuracy:
    """Of single positions, and of whole sequences."""
    same = hypotheses == target
    return Accuracy(int(same.sum()) / same.numel(), int(same.all(1).sum()) / len(same))


def study_hmm(unit: Unit, design: Design) -> dict[str, Accuracy]:
    """Draws an HMM, its training and test pairs, trains the three students and scores all SYSTEMS on the test pairs.

    The students begin with the same weights and see the same sources in the same order; only their targets differ.
    The same unit and design give the same numbers, whatever other units are studied and in which order.
    """
    generator = torch.Generator().manual_seed(_seed(design.seed, unit))
    model = random_hmms(
        hmms=1,
        states=design.states,
        symbols=design.symbols,
        a=unit.a,
        b=unit.b,
        normalise=design.normalise,
        generator=generator,
    )
    training = sample(model, sequences=design.train_size, time=design.length, generator=generator)
    test = sample(model, sequences=design.test_size, time=design.length, generator=generator)
    targets = {
        "real": training.target,
        "token_distilled": posterior_decoding(model, training.source),
        "sequence_distilled": viterbi_decoding(model, training.source),
    }
    found = {}
    for name, target in targets.items():
        student = _trained(training.source[0], target[0], design, seed=_seed(design.seed, unit))
        found[name] = accuracy(student.hypotheses(test.source[0]), test.target[0])
    found["posterior"] = accuracy(posterior_decoding(model, test.source)[0], test.target[0])
    found["viterbi"] = accuracy(viterbi_decoding(model, test.source)[0], test.target[0])
    return found


def _trained(source: Tensor, target: Tensor, design: Design, *, seed: int) -> BiLSTM:
    generator = torch.Generator().manual_seed(seed + 1)
    student = BiLSTM(
        symbols=design.symbols,
        states=design.states,
        embedding=design.embedding,
        hidden=design.hidden,
        generator=generator,
    )
    train(
        student,
        source,
        target,
        updates=design.updates,
        batch=design.batch,
        peak=design.learning_rate,
        generator=generator,
    )
    return student


def _seed(seed: int, unit: Unit) -> int:
    """Each unit has its own random numbers, also in another grid of a and b."""
    return int(sha256(f"decision-theory {seed} {unit.a} {unit.b} {unit.number}")[:12], 16)


def run(design: Design, out: Path, progress: Progress, *, workers: int = 0) -> dict[str, Any]:
    """Studies every HMM that has no result in `out` yet, and sums up.

    Writes hmms/*.json, one a unit, and study.json with the returned value. Killed and run again it does what is
    missing, and the files are the same bytes, with any number of workers.

    Args:
        workers: processes side by side, of one thread each; 0: one a core.

    Returns:
        "figures", "wins" (a row for each a and b) and "accuracy" (a row for each system); see `summary`.

    Raises:
        UserError: a design that makes no study (see `check`), or workers that died again and again.
    """
    check(design)
    numbers = range(1, design.hmms + 1)
    units = [Unit(float(a), float(b), number) for a in design.a for b in design.b for number in numbers]
    missing = [unit for unit in units if not (out / unit.file).exists()]
    progress.start("HMMs", total=len(units), unit="HMMs", done=len(units) - len(missing))
    workers = min(workers or len(os.sched_getaffinity(0)), len(missing))
    with closing(_studied(missing, design, workers=workers)) as studied:
        for unit, found in studied:
            accuracies = {name: found[name]._asdict() for name in SYSTEMS}
            write_json(out / unit.file, {**unit._asdict(), "accuracy": accuracies})
            progress.advance()
    progress.finish()
    results = summary([read_json(out / unit.file) for unit in units])
    write_json(out / "study.json", results)
    return results


def _studied(
    units: Sequence[Unit], design: Design, *, workers: int
) -> Generator[tuple[Unit, dict[str, Accuracy]], None, None]:
    if workers > 1:
        yield from in_processes(partial(_ready, design), units, workers=workers)
        return
    with _one_thread():
        for unit in units:
            yield _with_result(unit, design)


def _ready(design: Design) -> Callable[[Unit], tuple[Unit, dict[str, Accuracy]]]:
    """The start of a worker process."""
    torch.set_num_threads(1)
    return partial(_with_result, design=design)


def _with_result(unit: Unit, design: Design) -> tuple[Unit, dict[str, Accuracy]]:
    return unit, study_hmm(unit, design)


@contextmanager
def _one_thread() -> Iterator[None]:
    """More threads are slower on matrices this small, and add up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of wins and mean accuracies, in percent, of the units' results.

    A win in token accuracy is a token-distilled student above the sequence-distilled one, a win in sequence accuracy
    the reverse. A tie is not a win, but counts in the denominator. Intervals are Wilson's, at 95 %.
    """
    settings = dict.fromkeys((result["a"], result["b"]) for result in results)
    wins = []
    for a, b in settings:
        own = [result for result in results if (result["a"], result["b"]) == (a, b)]
        wins.append({"a": a, "b": b, "hmms": len(own), **_wins(own)})
    means = [
        {"system": name}
        | {
            f"{part}_accuracy": round(
                100 * math.fsum(result["accuracy"][name][part] for result in results) / len(results), 3
            )
            for part in Accuracy._fields
        }
        for name in SYSTEMS
    ]
    return {"figures": {"hmms": len(results), **_wins(results)}, "wins": wins, "accuracy": means}


def _wins(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    row: dict[str, float] = {}
    for part, other in (("token", "sequence"), ("sequence", "token")):
        gains = [
            result["accuracy"][f"{part}_distilled"][part] - result["accuracy"][f"{other}_distilled"][part]
            for result in results
        ]
        won = share(sum(gain > 0 for gain in gains), len(gains))
        row[f"{part}_wins_percent"] = round(won.percent, 2)
        row[f"{part}_wins_low"], row[f"{part}_wins_high"] = round(won.low, 2), round(won.high, 2)
        row[f"{part}_ties"] = gains.count(0)
    return row
