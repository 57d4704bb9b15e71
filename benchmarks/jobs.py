"""Are stages sooner done side by side? Two students by `run --jobs 2` against `--jobs 1`; writes bench-jobs.

    python -m benchmarks.jobs [--source FILE --target FILE] [--updates 200] [--rounds 3]

Both train the same recipe: two 2-layer SRU (width 256) and two Transformers (width 128, 2+2 layers) on batches of 1,024
tokens. The commands take turns; each is timed whole, from the start of Python to its end, so that what another process
costs is counted.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from evidence.rounds import ratios, rounds
from evidence.script import arguments, captions, execute, record, tell

RECIPE = """
[defaults.train]
data = "{data}"
max_updates = {updates}
validate_every = {updates}
batch_tokens = 1024
seeds = [1, 2]

[train.sru]
model = "sru"
set = {{ dim = 256, embedding_dim = 128 }}

[train.transformer]
model = "transformer"
set = {{ dim = 128, ffn_dim = 256, encoder_layers = 2, decoder_layers = 2, heads = 4 }}
"""


def seqdistill(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "seqdistill", *map(str, words)], check=True, capture_output=True)


def main() -> None:
    given = arguments(
        __doc__, updates=200, rounds=3, work=Path("build/benchmarks/jobs"), **captions("de", "en")
    ).parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    data, recipe = given.work / "data", given.work / "recipe.toml"
    seqdistill("prepare", "--source", given.source, "--target", given.target, "--valid-size", 100, "--out", data)
    recipe.write_text(RECIPE.format(data=data, updates=given.updates), encoding="utf-8")

    def whole(jobs: str) -> None:
        shutil.rmtree(given.work / "run", ignore_errors=True)
        seqdistill("run", recipe, "--out", given.work / "run", "--jobs", jobs)

    turns = list(rounds({jobs: partial(whole, jobs) for jobs in ("1", "2")}, given.rounds, warmup=0, tell=tell))
    record(
        "bench-jobs",
        given,
        claim="Wall time of four small trainings two at a time over one at a time, on the same cores",
        figures={"two_jobs_over_one": statistics.median(ratios(turns, "2", "1"))},
        rows=[{"jobs": int(turn.name), "round": turn.round, "seconds": round(turn.seconds, 1)} for turn in turns],
    )


if __name__ == "__main__":
    execute(main)
