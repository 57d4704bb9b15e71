"""`report`: one HTML page about the stages in a directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqdistill.decoding.trace import Trace, trace_from
from seqdistill.files import read_json, sha256_file
from seqdistill.manifest import checked, recorded, stages_at, status
from seqdistill.metrics.metric import SEPARATOR
from seqdistill.options import ReportOptions
from seqdistill.reports.bench_page import bench_part
from seqdistill.reports.page import Curve, Example, Page, write_page
from seqdistill.text.lines import read_lines
from seqdistill.training.log import read_log
from seqdistill.verbs.evaluate import TRACES
from seqdistill.verbs.systems import System, gains, row_of, systems_in
from seqdistill.visible import visible

NUM_EXAMPLES = 8


def write_report(directory: Path, page: Path, settings: ReportOptions) -> None:
    """Draws what the finished stages of a directory say, or a stage itself.

    Raises:
        UserError: as `stages_at`; a file of a stage that was altered.
    """
    systems = systems_in(directory)
    stages = [path for path in stages_at(directory) if status(path) == "finished"]
    manifests = {path: recorded(path) for path in stages}
    curves = [
        Curve(visible(path.name), read_log(checked(path / "log.jsonl")))
        for path in stages
        if (path / "log.jsonl").exists()
    ]
    by_length = {
        system.name: {bucket["length"]: bucket["bleu"] for bucket in system.scores["bleu_by_length"]}
        for system in systems
    }
    content = Page(
        title=settings.title,
        intro=settings.intro,
        systems=[row_of(system) for system in systems],
        highlights={
            name: f"{gain.delta:+.1f} BLEU [{gain.low:+.1f}, {gain.high:+.1f}]" for name, gain in gains(systems).items()
        },
        curves=curves,
        parts=[
            bench_part(f"Speed: {visible(path.name)}", manifest["results"], told_here=True)
            for path, manifest in manifests.items()
            if manifest["kind"] == "bench"
        ],
        by_length=by_length,
        examples=_examples(systems),
        traces=_traces(systems),
        manifests={visible(path.name): manifest for path, manifest in manifests.items()},
    )
    write_page(content, page)


def _traces(systems: Sequence[System]) -> dict[str, list[Trace]]:
    """Iterations of outputs, for the systems whose evaluation kept them."""
    kept = {system.name: system.evaluation / TRACES for system in systems}
    return {name: [trace_from(row) for row in read_json(checked(path))] for name, path in kept.items() if path.exists()}


def _examples(systems: Sequence[System]) -> list[Example]:
    """Lines spread evenly over the text that most systems translated."""
    texts: dict[str, list[System]] = {}
    for system in systems:
        texts.setdefault(sha256_file(checked(system.evaluation / "sources.txt")), []).append(system)
    if not texts:
        return []
    shared = max(texts.values(), key=len)
    sources = list(read_lines(shared[0].evaluation / "sources.txt"))
    references = [
        " / ".join(line.split(SEPARATOR)) for line in read_lines(checked(shared[0].evaluation / "references.txt"))
    ]
    hypotheses = {system.name: list(read_lines(checked(system.evaluation / "hypotheses.txt"))) for system in shared}
    step = max(1, len(sources) // NUM_EXAMPLES)
    return [
        Example(sources[line], references[line], {name: lines[line] for name, lines in hypotheses.items()})
        for line in range(step // 2, len(sources), step)
    ][:NUM_EXAMPLES]
