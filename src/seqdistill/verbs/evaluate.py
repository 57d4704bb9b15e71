"""`evaluate`: text decoded by a model, scored against references."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seqdistill.data.store import Store, build_store
from seqdistill.decoding.engine import Engine, TracingEngine, described
from seqdistill.decoding.penalty import mean_effort
from seqdistill.errors import UserError
from seqdistill.files import write_json, write_text
from seqdistill.machine import threads_kept
from seqdistill.metrics.metric import reference_line
from seqdistill.metrics.scores import check_name, create_metric
from seqdistill.metrics.significance import bleu_by_length
from seqdistill.metrics.tokenizers import completed, scored_words
from seqdistill.models.interface import Model
from seqdistill.options import DecodingOptions, EvaluateOptions, MetricOptions
from seqdistill.progress import Progress
from seqdistill.text.letters import num_words
from seqdistill.training.optim import choose_device
from seqdistill.training.validation import validation_scores
from seqdistill.verbs.engine import decoding_options, open_engine, tracing
from seqdistill.verbs.texts import TestSet, read_test_set
from seqdistill.vocabulary.vocabularies import Vocabularies

CHUNK_LINES = 512
LENGTH_EDGES = (5, 10, 15, 20, 30, 40)
TRACES, NUM_TRACES = "traces.json", 3


def check(settings: EvaluateOptions) -> None:
    """Raises UserError for an unknown metric."""
    for name in settings.metric_names:
        check_name(name)


def evaluate(settings: EvaluateOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Writes hypotheses.txt, scores.json, traces.json (non-autoregressive) and, apart as no two runs agree, speed.json.

    A source with several references is decoded once; references.txt then has tabs between them.

    Raises:
        UserError: no text or two texts named, a metric that is unknown or cannot run; see the parts.
    """
    test = read_test_set(settings, verb="evaluate")
    opened = open_engine(settings, lines=len(test.sources), scored=False)
    engine = opened.engine
    if opened.model is None and settings.perplexity and "perplexity" in settings.model_fields_set:
        raise UserError(f"{settings.model}: an exported model tells no perplexity: leave it out")
    options = decoding_options(settings, engine)
    references = [reference_line(each, num_references=test.num_references) for each in test.references]
    metric_options = completed(
        settings, test.languages or opened.languages, lowercase=opened.tokenizers.target.lowercase
    )
    metrics = [
        create_metric(name, metric_options, sources=test.sources, num_references=test.num_references)
        for name in settings.metric_names
    ]
    if number := NUM_TRACES * engine.traits.traces if settings.traces is None else settings.traces:
        _write_traces(out, tracing(engine), test.sources, options, number)
    progress.start(f"decoding ({described(engine.fingerprint)})", total=len(test.sources), unit="sentences")
    started, decoded = time.perf_counter(), []
    for start in range(0, len(test.sources), CHUNK_LINES):
        chunk = test.sources[start : start + CHUNK_LINES]
        numbers = range(start, start + len(chunk))
        decoded += [found[0] for found in engine.decode(chunk, options, line_numbers=numbers)]
        progress.advance(len(chunk))
    seconds = time.perf_counter() - started
    progress.finish()
    hypotheses = [best.text for best in decoded]
    _write_lines(out / "sources.txt", test.sources)
    _write_lines(out / "references.txt", references)
    _write_lines(out / "hypotheses.txt", hypotheses)

    scores = {metric.name: metric.corpus(hypotheses, references) for metric in metrics}
    results: dict[str, Any] = {name: round(score.value, 4) for name, score in scores.items()}
    if settings.perplexity and opened.model is not None:
        results |= _perplexity(settings, test, opened.model, opened.tokenizers, out)
    if engine.traits.non_autoregressive:
        passes, iterations = mean_effort([(best.passes, best.iterations) for best in decoded])
        results |= {"passes": round(passes, 4), "iterations": round(iterations, 4)}
    counts = {"num_references": test.num_references} if test.num_references > 1 else {}
    details = {
        "signatures": {name: score.signature for name, score in scores.items()},
        "bleu_by_length": _by_length(hypotheses, references, test, metric_options),
        "parameters": opened.parameters,
        "engine": described(engine.fingerprint),
        "sentences": len(test.sources),
        "tokenize": scored_words(metric_options),
    }
    write_json(out / "scores.json", results | details | counts)
    speed = _speed(engine, test.sources[: settings.speed_lines], options, progress)
    speed["sentences_per_second"] = round(len(test.sources) / seconds, 2)
    write_json(out / "speed.json", speed)
    return results | {"parameters": opened.parameters, "engine": described(engine.fingerprint)} | speed


def _by_length(
    hypotheses: Sequence[str], references: Sequence[str], test: TestSet, options: MetricOptions
) -> list[dict[str, Any]]:
    """BLEU of each bucket of source lengths."""
    buckets = bleu_by_length(
        hypotheses,
        references,
        [num_words(line) for line in test.sources],
        LENGTH_EDGES,
        lowercase=options.lowercase,
        tokenize=scored_words(options),
        num_references=test.num_references,
    )
    return [
        {"length": bucket.label, "sentences": bucket.num_sentences, "bleu": round(bucket.bleu, 4)} for bucket in buckets
    ]


def _write_traces(
    out: Path, engine: TracingEngine, sources: Sequence[str], options: DecodingOptions, number: int
) -> None:
    """Keeps the iterations of some outputs, for lines spread evenly over the text."""
    step = max(1, len(sources) // number)
    lines = range(step // 2, len(sources), step)[:number]
    write_json(
        out / TRACES, [{"line": line + 1, **engine.traces(sources[line], options)[0].as_json()} for line in lines]
    )


def _speed(engine: Engine, timed: Sequence[str], options: DecodingOptions, progress: Progress) -> dict[str, float]:
    """Milliseconds a sentence takes by itself on one thread: the median."""
    if not timed:
        return {}
    progress.start("timing one by one", total=len(timed), unit="sentences")
    times = []
    with threads_kept():
        torch.set_num_threads(1)
        for number, line in enumerate(timed):
            started = time.perf_counter()
            engine.decode([line], options, line_numbers=[number])
            times.append(time.perf_counter() - started)
            progress.advance()
    progress.finish()
    return {"milliseconds_per_sentence": round(1000 * statistics.median(times), 3)}


def _perplexity(
    settings: EvaluateOptions, test: TestSet, model: Model, tokenizers: Vocabularies, out: Path
) -> dict[str, float]:
    """Per subword token of all references, EOS included (a non-autoregressive model: of its own loss); and how many
    of them are too long for it, if any are."""
    path = out / ".references.arrow"
    lines = zip(test.sources, test.references, strict=True)
    build_store(((source, each) for source, references in lines for each in references), tokenizers, path)
    try:
        model.to(choose_device(settings.device)).eval()
        scores = validation_scores(model, Store.open(path), tokenizers, metric="loss", max_tokens=4096)
    finally:
        path.unlink()
    left_out = {"perplexity_left_out": round(scores["left_out"])} if "left_out" in scores else {}
    return {"perplexity": round(scores["perplexity"], 4)} | left_out


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
