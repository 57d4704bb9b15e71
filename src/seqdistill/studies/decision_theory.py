"""Why distill? The Bayesian decision theory study of Zhou et al. 2020, appendix D (equations 5 to 9), on random
hidden Markov models.

A non-autoregressive student cannot write several translations of one source, so a teacher decides for one. Posterior
decoding is the best decision for token accuracy and Viterbi decoding for sequence accuracy; the study asks whether
students with independent outputs, trained on what each of the two wrote, differ in the same way on held-out
pairs of the HMM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from seqdistill.files import sha256, write_json
from seqdistill.machine import threads_kept
from seqdistill.metrics.significance import share
from seqdistill.options import DecisionTheoryOptions
from seqdistill.progress import Progress
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.studies.bilstm import BiLSTM, train
from seqdistill.studies.hmm import posterior_decoding, random_hmms, sample, viterbi_decoding
from seqdistill.threads import usable_cores
from seqdistill.workers import in_processes

SYSTEMS = ("real", "token_distilled", "sequence_distilled", "posterior", "viterbi")
"""Students by their training targets, then the two decoders that know the HMM."""


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


def study_hmm(unit: Unit, options: DecisionTheoryOptions) -> dict[str, Accuracy]:
    """Draws an HMM, its training and test pairs, trains the three students and scores all SYSTEMS on the test pairs.

    The students begin with the same weights and see the same sources in the same order; only their targets differ.
    The same unit and options give the same numbers, whatever other units are studied and in which order.
    """
    generator = torch.Generator().manual_seed(_seed(options.seed, unit))
    model = random_hmms(
        hmms=1,
        states=options.states,
        symbols=options.symbols,
        a=unit.a,
        b=unit.b,
        normalise=options.normalise,
        generator=generator,
    )
    training = sample(model, sequences=options.train_pairs, time=options.length, generator=generator)
    test = sample(model, sequences=options.test_pairs, time=options.length, generator=generator)
    targets = {
        "real": training.target,
        "token_distilled": posterior_decoding(model, training.source),
        "sequence_distilled": viterbi_decoding(model, training.source),
    }
    found = {}
    for name, target in targets.items():
        student = _trained(training.source[0], target[0], options, seed=_seed(options.seed, unit))
        found[name] = accuracy(student.hypotheses(test.source[0]), test.target[0])
    found["posterior"] = accuracy(posterior_decoding(model, test.source)[0], test.target[0])
    found["viterbi"] = accuracy(viterbi_decoding(model, test.source)[0], test.target[0])
    return found


def _trained(source: Tensor, target: Tensor, options: DecisionTheoryOptions, *, seed: int) -> BiLSTM:
    generator = torch.Generator().manual_seed(seed + 1)
    student = BiLSTM(
        symbols=options.symbols,
        states=options.states,
        embedding=options.embedding,
        hidden=options.hidden,
        generator=generator,
    )
    train(
        student,
        source,
        target,
        updates=options.updates,
        batch=options.batch,
        peak=options.first_rate,
        generator=generator,
    )
    return student


def _seed(seed: int, unit: Unit) -> int:
    """Each unit has its own random numbers, also in another grid of a and b."""
    return int(sha256(f"decision-theory {seed} {unit.a} {unit.b} {unit.number}")[:12], 16)


def run(options: DecisionTheoryOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Studies every HMM that has no result in `out` yet, and sums up.

    Writes hmms/*.json, one a unit, and study.json with the returned value. Killed and run again it does what is
    missing, and the files are the same bytes, with any number of workers.

    Returns:
        "figures", "wins" (a row for each a and b) and "accuracy" (a row for each system); see `summary`.

    Raises:
        UserError: workers that died again and again.
    """
    numbers = range(1, options.hmms + 1)
    units = [Unit(float(a), float(b), number) for a in options.a for b in options.b for number in numbers]
    missing = [unit for unit in units if not (out / unit.file).exists()]
    progress.start("HMMs", total=len(units), unit="HMMs", done=len(units) - len(missing))
    workers = min(options.workers or usable_cores(), len(missing))
    with closing(_studied(missing, options, workers=workers)) as studied:
        for unit, found in studied:
            accuracies = {name: found[name]._asdict() for name in SYSTEMS}
            write_sealed(out / unit.file, {**unit._asdict(), "accuracy": accuracies})
            progress.advance()
    progress.finish()
    results = summary([_studied_before(out / unit.file) for unit in units])
    write_json(out / "study.json", results)
    return results


def _studied_before(path: Path) -> dict[str, Any]:
    """The result of a unit, by this run or an earlier one."""
    return read_sealed(path, remedy=f"delete {path} and run the same again: this HMM is studied again")


def _studied(
    units: Sequence[Unit], options: DecisionTheoryOptions, *, workers: int
) -> Generator[tuple[Unit, dict[str, Accuracy]], None, None]:
    if workers > 1:
        yield from in_processes(partial(_ready, options), units, workers=workers)
        return
    with threads_kept():
        torch.set_num_threads(1)  # more are slower on matrices this small, and add up in another order
        for unit in units:
            yield _with_result(unit, options)


def _ready(options: DecisionTheoryOptions) -> Callable[[Unit], tuple[Unit, dict[str, Accuracy]]]:
    """The start of a worker process."""
    torch.set_num_threads(1)
    return partial(_with_result, options=options)


def _with_result(unit: Unit, options: DecisionTheoryOptions) -> tuple[Unit, dict[str, Accuracy]]:
    return unit, study_hmm(unit, options)


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
