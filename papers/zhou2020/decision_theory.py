"""Which distilled data wins which accuracy, on random HMMs? Runs or continues the study; writes decision-theory.

    python -m papers.zhou2020.decision_theory [--hmms 50] [--workers N] [--out runs/decision-theory]

Figures: shares of wins over all HMMs of the softmax grid of a and b, and mean accuracies of the systems there. The same
with parameters divided by their sum, where a and b cancel, is one more row and the figures that begin with `sum`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from evidence.results import write_result
from seqdistill.console import Terminal
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.options import DecisionTheoryOptions
from seqdistill.stages import run_stage

CLAIM = (
    "Students of posterior decoding win token accuracy, students of Viterbi decoding sequence accuracy, on held-out "
    "pairs of random HMMs (published: 97.6 % and 98.5 % of runs; Zhou et al. 2020, appendix D)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hmms", type=int, default=50, help="random HMMs for each a and b")
    parser.add_argument("--workers", type=int, default=0, help="HMMs side by side; 0: one a core")
    parser.add_argument("--out", type=Path, default=Path("runs/decision-theory"), help="directory of both runs")
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    sizes = {"hmms": given.hmms, "workers": given.workers}
    studies = {"softmax": sizes, "sum": {"normalise": "sum", "a": [1.0], "b": [1.0], **sizes}}
    rows, figures, seconds = [], {}, 0.0
    for name, values in studies.items():
        out, settings = given.out / name, DecisionTheoryOptions.read(values, where=name)
        results = run_stage("decision-theory", settings, out, Terminal(), title=name).results
        prefix = "" if name == "softmax" else f"{name}_"
        figures |= {f"{prefix}{figure}": value for figure, value in results["figures"].items()}
        for system in results["accuracy"]:
            for part in ("token_accuracy", "sequence_accuracy"):
                figures[f"{prefix}{system['system']}_{part}"] = system[part]
        rows += [{"normalise": name, **row} for row in results["wins"]]
        seconds += read_json(out / FINISHED)["wall_seconds"]
    path = write_result(
        "decision-theory",
        claim=CLAIM,
        figures=figures,
        rows=rows,
        started=time.time() - seconds,
        path=given.results,
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    with reported():
        main()
