"""Are stages sooner done side by side? Two students by `run --jobs 2` against `--jobs 1`; writes bench-jobs.

    python -m benchmarks.jobs [--source FILE --target FILE] [--updates 200] [--rounds 3]

Both train the same recipe: two 2-layer SRU (width 256) and two Transformers (width 128, 2+2 layers) on batches of 1,024
tokens. The commands take turns; each is timed whole, from the start of Python to its end, so that what another process
costs is counted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from evidence.results import write_result
from seqdistill.errors import reported

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("../shared/data/multi30k/train.de.gz"))
    parser.add_argument("--target", type=Path, default=Path("../shared/data/multi30k/train.en.gz"))
    parser.add_argument("--updates", type=int, default=200, help="of each training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks/jobs"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args()
    started = time.time()
    given.work.mkdir(parents=True, exist_ok=True)
    data, recipe = given.work / "data", given.work / "recipe.toml"
    seqdistill("prepare", "--source", given.source, "--target", given.target, "--valid-size", 100, "--out", data)
    recipe.write_text(RECIPE.format(data=data, updates=given.updates), encoding="utf-8")
    rows = []
    for number in range(1, given.rounds + 1):
        for jobs in (1, 2):
            out = given.work / "run"
            shutil.rmtree(out, ignore_errors=True)
            began = time.perf_counter()
            seqdistill("run", recipe, "--out", out, "--jobs", jobs)
            rows.append({"jobs": jobs, "round": number, "seconds": round(time.perf_counter() - began, 1)})
            print(rows[-1], flush=True)
    one, two = ([row["seconds"] for row in rows if row["jobs"] == jobs] for jobs in (1, 2))
    ratio = statistics.median(second / first for first, second in zip(one, two, strict=True))
    write_result(
        "bench-jobs",
        claim="Wall time of four small trainings two at a time over one at a time, on the same cores",
        figures={"two_jobs_over_one": round(ratio, 3)},
        rows=rows,
        started=started,
        path=given.results,
    )


if __name__ == "__main__":
    with reported():
        main()
