"""`distill`: a teacher rewrites the training targets of a data directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from seqdistill.data.directory import DataDirectory
from seqdistill.distillation.sequence import Similarity, distill_corpus
from seqdistill.metrics.scores import sentence_bleu, sentence_chrf
from seqdistill.metrics.tokenizers import completed, scored_words, tokenizer
from seqdistill.options import DistillOptions, MetricOptions
from seqdistill.progress import Progress
from seqdistill.text.languages import Languages
from seqdistill.threads import usable_cores
from seqdistill.verbs.engine import OWN_THREADS, decoding_options, open_teacher
from seqdistill.verbs.trained import engine_options


def _similarity(select: str, languages: Languages) -> Similarity | None:
    """How alike hypothesis and reference are, in the words of the targets' language; None: the first is taken.

    Raises:
        UserError: the language's tokeniser needs what is not installed.
    """
    if select == "bleu":
        words = scored_words(completed(MetricOptions(), languages, lowercase=False))
        tokenizer(words)  # now, not after hours of decoding
        return partial(sentence_bleu, tokenize=words)
    return sentence_chrf if select == "chrf" else None


def distill(settings: DistillOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Decodes the training sources into `out`/shards, then writes `out` as a data directory.

    Raises:
        UserError: validation or test text among the training sources, a damaged shard, another teacher's shards.
    """
    options = engine_options(settings, settings.engine_of_record)
    inside = settings.engine_of_record in OWN_THREADS
    workers = settings.workers or (1 if inside or options["device"] != "cpu" else usable_cores())
    if inside and workers > 1:
        options["workers"] = 1
    data = DataDirectory.open(settings.data)
    similarity = _similarity(settings.select, data.languages)
    options["lines"] = len(data.sources_to_decode)
    teacher = open_teacher(settings, **options)
    return distill_corpus(
        data=data,
        engine=teacher,
        load=partial(open_teacher, settings, **options),
        out=out,
        options=decoding_options(settings, teacher),
        similarity=similarity,
        select_among=settings.select_among,
        student=DataDirectory.open(settings.student_data) if settings.student_data else None,
        workers=workers,
        shard_lines=settings.shard_lines,
        progress=progress,
    )
