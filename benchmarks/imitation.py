"""What does imitation cost? One ImitKD + Full update against one Vanilla + Full update; writes bench-imitation.

    python -m benchmarks.imitation [--source FILE --target FILE] [--updates 8] [--rounds 5] [--threads N]

The same 2-layer SRU student (width 512, embeddings 256), teacher (8+8 layers of width 256, FFN 1024, the IWSLT teacher
of Lin et al. 2020) and batches of 2,048 tokens, 8,000 joint BPE, float32, on the CPU. The student is first trained a
little on the data, so that its outputs are as long as sentences are; the teacher's weights are random, which costs the
same. Every target is a roll-out (mixing_rate near 0), as at the end of training: the most that imitation can cost. The
variants run in turn, and the ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from evidence.rounds import Turn, medians, ratios, rounds
from evidence.script import arguments, captions, execute, record, tell
from seqdistill.data.batches import Batches
from seqdistill.data.store import Store, build_store
from seqdistill.distillation.imitation import Rollouts
from seqdistill.distillation.log_metrics import LogMetrics
from seqdistill.distillation.teacher import Teacher
from seqdistill.distillation.word import full_distribution
from seqdistill.models.saved import create_model
from seqdistill.nn.divergences import Divergence
from seqdistill.options import RolloutOptions
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.training.memory import keep_freed_memory
from seqdistill.training.optim import adam, divide_and_clip, step
from seqdistill.vocabulary.vocabularies import train_vocabularies

BATCH_TOKENS = 2048
WARMING_UPDATES = 150
"""Plain updates before anything is measured."""
POOLS = (1, 2, 4, 8)
VANILLA, IMITATION = "Vanilla + Full", "ImitKD + Full, M = {}"


class Training:
    """A student, its optimizer, its stream of batches, and updates that are timed."""

    def __init__(self, student: Any, teacher: Teacher, batches: Batches, *, pool: int, rate: float) -> None:
        self.student, self.figures = copy.deepcopy(student), LogMetrics()
        self.teacher = teacher
        options = RolloutOptions(mixing="constant", mixing_rate=rate, pool=pool)
        self.objective = full_distribution(
            self.student, teacher, Divergence("cross-entropy", 0.5, 1.0, 0), log_metrics=self.figures
        )
        self.stream = Rollouts(
            batches,
            self.student,
            lambda batch, _: teacher.described(batch),
            options,
            max_updates=10**6,
            batches_per_update=1,
            log_metrics=self.figures,
        )
        self.parameters = list(self.student.parameters())
        self.optimizer = adam(self.parameters, weight_decay=0.0)

    def run(self, updates: int) -> dict[str, float]:
        """Does so many updates; milliseconds of one, in all and by part, and its labels."""
        self.teacher.log_metrics = self.figures
        self.figures.take()
        began, labels = time.perf_counter(), 0
        for _ in range(updates):
            loss = self.objective(next(self.stream))
            loss.total.backward()
            divide_and_clip(self.parameters, count=loss.count, clip_norm=1.0)
            step(self.optimizer, 1e-4)
            labels += loss.count
        each = 1000 * (time.perf_counter() - began) / updates
        shares = self.figures.take()
        parts = {part: each * shares.get(f"{part}_time_share", 0.0) for part in ("rollout", "teacher")}
        return {"milliseconds": each, **parts, "student": each - sum(parts.values()), "labels": labels / updates}


def prepared(folder: Path, source: Path, target: Path) -> tuple[Any, Store]:
    """Vocabularies and token store of the text."""
    pairs = [pair for pair in ParallelCorpus.from_files(source, target) if pair.source.strip() and pair.target.strip()]
    tokenizers = train_vocabularies(pairs, vocab_size=8000)
    folder.mkdir(parents=True, exist_ok=True)
    build_store(pairs, tokenizers, folder / "train.arrow")
    return tokenizers, Store.open(folder / "train.arrow")


def warmed(student: Any, store: Store) -> Any:
    """The student after some updates on the data."""
    parameters = list(student.parameters())
    optimizer = adam(parameters, weight_decay=0.0)
    batches = Batches(store, max_tokens=BATCH_TOKENS, seed=2)
    for update in range(1, WARMING_UPDATES + 1):
        loss = student.loss(next(batches), label_smoothing=0.1)
        loss.total.backward()
        divide_and_clip(parameters, count=loss.count, clip_norm=1.0)
        step(optimizer, 2e-3 * min(1.0, update / 100))
    return student


def main() -> None:
    given = arguments(
        __doc__,
        **captions("de", "en"),
        updates=8,
        rounds=5,
        threads=torch.get_num_threads(),
        work=Path("build/benchmarks/imitation"),
    ).parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    keep_freed_memory()
    tokenizers, store = prepared(given.work, given.source, given.target)
    student = warmed(create_model("sru", tokenizers).train(), store)
    teacher = Teacher([create_model("transformer-iwslt-teacher", tokenizers)])

    def training(*, pool: int, rate: float) -> Callable[[], dict[str, float]]:
        batches = Batches(store, max_tokens=BATCH_TOKENS, seed=1)
        return partial(Training(student, teacher, batches, pool=pool, rate=rate).run, given.updates)

    tasks = {VANILLA: training(pool=1, rate=1.0)}
    tasks |= {IMITATION.format(pool): training(pool=pool, rate=1e-9) for pool in POOLS}
    report(given, list(rounds(tasks, given.rounds, tell=tell)))


def report(given: argparse.Namespace, turns: list[Turn[dict[str, float]]]) -> None:
    """Medians over the rounds of the ratios within a round; of a label's time too: roll-outs have other lengths."""

    def ratio(pool: int, value: Callable[[Turn[dict[str, float]]], float]) -> float:
        return statistics.median(ratios(turns, IMITATION.format(pool), VANILLA, value))

    figures: dict[str, float] = {"threads": given.threads}
    for pool in POOLS:
        suffix = "" if pool == 4 else f"_m{pool}"
        figures[f"imitkd_full_over_vanilla_full{suffix}"] = ratio(pool, lambda turn: turn.result["milliseconds"])
    figures["per_label"] = ratio(4, lambda turn: turn.result["milliseconds"] / turn.result["labels"])
    for part in ("rollout", "teacher", "student"):
        shares = medians(turns, lambda turn, part=part: turn.result[part] / turn.result["milliseconds"])
        figures[f"{part}_share"] = shares[IMITATION.format(4)]
    claim = (
        "Time of an ImitKD + Full update, all of whose targets are roll-outs, over that of a Vanilla + Full update: "
        "the same SRU student, teacher and batches, float32 on the CPU"
    )
    rows = [
        {"system": turn.name, "round": turn.round} | {name: round(value, 1) for name, value in turn.result.items()}
        for turn in turns
    ]
    record("bench-imitation", given, claim=claim, figures=figures, rows=rows)


if __name__ == "__main__":
    execute(main)
