"""Which distilled data wins which accuracy, on random HMMs? Runs or continues the study; writes decision-theory.

    python -m papers.zhou2020.decision_theory [--hmms 50] [--workers N] [--out runs/decision-theory]

Figures: shares of wins over all HMMs of the softmax grid of a and b, and mean accuracies of the systems there. The same
with parameters divided by their sum, where a and b cancel, is one more row and the figures that begin with `sum`.
"""

from __future__ import annotations

from pathlib import Path

from evidence.script import arguments, execute, record
from seqdistill.console import Terminal
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.options import DecisionTheoryOptions
from seqdistill.stages import run_stage

CLAIM = (
    "Students of posterior decoding win token accuracy, students of Viterbi decoding sequence accuracy, on held-out "
    "pairs of random HMMs (published: 97.6 % and 98.5 % of runs; Zhou et al. 2020, appendix D)"
)


def main() -> None:
    given = arguments(__doc__, hmms=50, workers=0, out=Path("runs/decision-theory")).parse_args()
    sizes = {"hmms": given.hmms, "workers": given.workers}
    studies = {"softmax": sizes, "sum": {"normalise": "sum", "a": [1.0], "b": [1.0], **sizes}}
    rows, figures = [], {}
    for name, values in studies.items():
        out, settings = given.out / name, DecisionTheoryOptions.read(values, where=name)
        results = run_stage("decision-theory", settings, out, Terminal(), title=name).results
        prefix = "" if name == "softmax" else f"{name}_"
        figures |= {f"{prefix}{figure}": value for figure, value in results["figures"].items()}
        for system in results["accuracy"]:
            for part in ("token_accuracy", "sequence_accuracy"):
                figures[f"{prefix}{system['system']}_{part}"] = system[part]
        rows += [{"normalise": name, **row} for row in results["wins"]]
        given.started -= read_json(out / FINISHED)["wall_seconds"]
    record("decision-theory", given, claim=CLAIM, figures=figures, rows=rows)


if __name__ == "__main__":
    execute(main)
