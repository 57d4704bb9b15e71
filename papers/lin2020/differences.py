"""Which variant is better than which: paired bootstrap over sentences, all seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from papers.lin2020.runs import Run, grouped, title
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.significance import compare_runs
from seqdistill.options import MetricOptions
from seqdistill.text.lines import read_lines
from seqdistill.verbs.systems import System

DIFFERENCES = [
    ("seqkd", "vanilla"),
    ("imitkd", "vanilla"),
    ("imitkd", "seqkd"),
    ("imitkdstar", "imitkd"),
    ("vanilla_full", "vanilla"),
    ("seqkd_full", "seqkd"),
    ("imitkd_full", "imitkd"),
    ("imitkd_full", "vanilla_full"),
    ("imitkd_full", "seqkd"),
]


def differences(runs: Sequence[Run], *, beam: int = 5) -> list[dict[str, Any]]:
    """What each variant gains over another of the same system."""
    groups, rows = grouped(runs), []
    for system in dict.fromkeys(run.system for run in runs):
        for better, baseline in DIFFERENCES:
            pair = [
                {run.seed: run.tests[beam] for run in groups.get((system, name), [])} for name in (baseline, better)
            ]
            shared = sorted(pair[0].keys() & pair[1].keys())
            if not shared:
                continue
            tests = [[by_seed[seed] for seed in shared] for by_seed in pair]
            for name in sorted(tests[0][0].scores["signatures"].keys() - {"ter"}):  # of which less is better
                rows.append({"system": system, "difference": f"{title(better)} over {title(baseline)}"})
                rows[-1] |= _difference(name, tests)
    return rows


def _difference(name: str, tests: list[list[System]]) -> dict[str, Any]:
    signature = tests[0][0].scores["signatures"][name]
    language = "en" if "tok:rouge-score" in signature else ""
    metric = create_metric(name, MetricOptions(lowercase="case:lc" in signature, target_language=language))
    outputs = [[list(read_lines(each.evaluation / "hypotheses.txt")) for each in same] for same in tests]
    references = list(read_lines(tests[0][0].evaluation / "references.txt"))
    found = compare_runs(metric, outputs[0], outputs[1], references)
    by_seed = [one.scores[name] - other.scores[name] for other, one in zip(*tests, strict=True)]
    return {
        "metric": name,
        "gain": round(found.delta, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p_value": round(found.p_value, 4),
        "seeds": len(by_seed),
        "seeds_that_gain": sum(gain > 0 for gain in by_seed),
        "signature": found.signature,
    }
