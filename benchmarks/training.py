"""How many target tokens a second does the loop train on, beside Joey NMT and transformers? Writes bench-training.

    python -m benchmarks.training [--source FILE --target FILE] [--seconds N] [--rounds N] [--threads N]

The same Transformer (width 256, 3+3 layers, FFN 1024, a joint vocabulary of 8,000, dropout and label smoothing 0.1,
Adam) on the same sentence pairs in batches of 2,048 target tokens, by our loop, by Joey NMT 2.3's and by transformers'
Seq2SeqTrainer, in turns, each in a fresh process. Tokens count once each, EOS included, padding not. Each trainer is as
it comes: ours takes the precision that it finds to be faster, the others compute in float32; each forms its batches
itself, of which Joey NMT and the Seq2SeqTrainer shuffle without regard to length and pad. The Seq2SeqTrainer is
measured with group_by_length as well, and in bfloat16 where the processor has it, and our loop in either precision at
width 256 and 512. A quarter of an hour, on a machine that does nothing else.

The peers live in environments of their own, made on first use below --peers, all with torch of the same version. Joey
NMT is installed without its dependencies, of which it pins a protobuf that its own tensorboard cannot work with any
more, and then with those it imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from evidence.rounds import Turn, medians, rounds
from evidence.script import arguments, captions, execute, record, tell
from seqdistill.data.store import Store, build_store
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.threads import SPINS
from seqdistill.training.optim import computes_bfloat16
from seqdistill.vocabulary.vocabularies import train_vocabularies

SIZES = {
    "vocab": 8000,
    "dim": 256,
    "ffn_dim": 1024,
    "layers": 3,
    "heads": 4,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "batch_tokens": 2048,
}
OURS, WIDTHS, PRECISIONS = "seqdistill", (256, 512), ("float32", "bfloat16")
PEAK = "matrix product"
"""Takes turns with the trainers in each precision; its result counts operations as tokens."""
WARMUP = 4
"""Updates before the clock runs."""
PEERS = Path(__file__).parent / "training_peers"
JOEYNMT = [
    *("datasets", "importlib_metadata", "matplotlib", "numpy", "packaging", "pandas", "pyyaml", "sacrebleu"),
    *("sacremoses", "seaborn", "sentencepiece", "setuptools", "subword-nmt", "tensorboard"),
]


TRANSFORMERS = ["transformers==5.24.0", "accelerate==1.15.0", "datasets==5.2.0"]
Found = dict[str, float | str]
"""What a process tells: tokens, seconds, CPU seconds, updates; ours also the precision."""


def clean() -> dict[str, str]:
    """This process's environment without what is ours: the path to our packages, and how our threads wait."""
    ours = {"PYTHONPATH", "GOMP_SPINCOUNT"} if os.environ.get("GOMP_SPINCOUNT") == SPINS else {"PYTHONPATH"}
    return {name: value for name, value in os.environ.items() if name not in ours}


class System(NamedTuple):
    """A trainer to be measured."""

    name: str
    command: list[str]
    """Takes the folder, seconds, warm-up and threads; `rest` comes after."""
    rest: list[str]


def environment(folder: Path, *installs: list[str]) -> str:
    """The interpreter of an environment with torch of our version and then `installs`, made if it is not there."""
    python, done = folder / "bin" / "python", folder / "complete"
    if not done.exists():
        print(f"making {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        for packages in ([f"torch=={torch.__version__.partition('+')[0]}"], *installs):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, env=clean())
        done.touch()
    return str(python)


def write_data(folder: Path, source: Path, target: Path) -> float:
    """The corpus as our store, and as text of one word a token id for the peers. Returns tokens a target sentence."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [pair for pair in ParallelCorpus.from_files(source, target) if pair.source.strip() and pair.target.strip()]
    tokenizers = train_vocabularies(pairs, vocab_size=SIZES["vocab"])
    build_store(pairs, tokenizers, folder / "train.arrow")
    store = Store.open(folder / "train.arrow")
    for side, ids in (("src", store.source_ids), ("trg", store.target_ids)):
        lines = [" ".join(f"w{token}" for token in ids(line)) + "\n" for line in range(len(store))]
        (folder / f"train.{side}").write_text("".join(lines))
        (folder / f"valid.{side}").write_text("".join(lines[:10]))
    (folder / "vocabulary.txt").write_text("".join(f"w{token}\n" for token in range(5, SIZES["vocab"])))
    (folder / "sizes.json").write_text(json.dumps(SIZES))
    return float(store.target_lengths.mean()) + 1


def measure(system: System, folder: Path, *, seconds: float, threads: int) -> Found:
    """What one fresh process tells."""
    command = [*system.command, str(folder), str(seconds), str(WARMUP), str(threads), *system.rest]
    own = system.command[0] == sys.executable
    done = subprocess.run(command, capture_output=True, text=True, env=None if own else clean())
    found: Found = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line) if line.startswith('{"') else {}
    if "tokens" not in found:
        sys.exit(f"{system.name} measured nothing:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    tell(f"  {speed_of(found):,.0f} target tokens/s")
    return found


def speed_of(found: Found) -> float:
    """Target tokens a second."""
    return float(found["tokens"]) / float(found["seconds"])


def matmul_peak(threads: int, precision: str, *, size: int = 2048, seconds: float = 4.0) -> Found:
    """Operations of one of torch's matrix products, and the seconds of the fastest of them."""
    torch.set_num_threads(threads)
    a, b = (torch.randn(size, size).to(getattr(torch, precision)) for _ in range(2))
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return {"tokens": 2 * size**3, "seconds": best}


def operations_per_token() -> int:
    """Floating-point operations of a target token and its source token, forward and back: 6 a weight of a product."""
    dim, ffn_dim, layers = SIZES["dim"], SIZES["ffn_dim"], SIZES["layers"]
    encoder_layer, decoder_layer = 4 * dim**2 + 2 * dim * ffn_dim, 8 * dim**2 + 2 * dim * ffn_dim
    return 6 * (layers * (encoder_layer + decoder_layer) + dim * SIZES["vocab"])


def systems_of(given: argparse.Namespace, precisions: Sequence[str]) -> list[System]:
    """Every trainer; bfloat16 only where it is among the precisions."""
    joeynmt = environment(given.peers / "joeynmt", ["--no-deps", "joeynmt==2.3.0"], JOEYNMT)
    trainer = [environment(given.peers / "transformers", TRANSFORMERS), str(PEERS / "with_transformers.py")]
    ours = [sys.executable, "-m", "benchmarks.training_peers.with_seqdistill"]
    return [
        System(OURS, ours, [str(SIZES["dim"]), "auto"]),
        System("joeynmt", [joeynmt, str(PEERS / "with_joeynmt.py")], []),
        System("transformers", trainer, ["random", "float32"]),
        System("transformers, group_by_length", trainer, ["group_by_length", "float32"]),
        *(System(f"transformers, {name}", trainer, ["random", name]) for name in precisions[1:]),
        *(System(own(width, name), ours, [str(width), name]) for width in WIDTHS for name in precisions),
    ]


def own(width: int, precision: str) -> str:
    """Our loop at a width, in a precision."""
    return f"{OURS}, width {width}, {precision}"


def main() -> None:
    given = arguments(
        __doc__,
        **captions("en", "de"),
        seconds=20.0,
        rounds=3,
        threads=torch.get_num_threads(),
        work=Path("build/benchmarks/training"),
        peers=Path.home() / ".cache" / "seqdistill" / "peers",
    ).parse_args()
    precisions = PRECISIONS if computes_bfloat16(torch.device("cpu")) else PRECISIONS[:1]
    systems = systems_of(given, precisions)
    mean_length = write_data(given.work / "data", given.source, given.target)
    tasks = {
        system.name: partial(measure, system, given.work / "data", seconds=given.seconds, threads=given.threads)
        for system in systems
    }
    peaks = {f"{PEAK}, {precision}": partial(matmul_peak, given.threads, precision) for precision in precisions}
    turns = list(rounds({**peaks, **tasks}, given.rounds, warmup=0, tell=tell))
    report(given, turns, mean_length, precisions)


def row_of(turn: Turn[Found]) -> dict[str, str | float]:
    """One system's speed in one round."""
    found = turn.result
    return {
        "system": turn.name,
        "round": turn.round,
        "precision": found.get("precision", "bfloat16" if turn.name.endswith("bfloat16") else "float32"),
        "target_tokens_per_second": round(speed_of(found), 1),
        "tokens_per_cpu_second": round(float(found["tokens"]) / float(found["cpu_seconds"]), 1),
        "tokens_per_update": round(float(found["tokens"]) / float(found["updates"]), 1),
        "updates": found["updates"],
    }


def report(given: argparse.Namespace, turns: list[Turn[Found]], mean_length: float, precisions: Sequence[str]) -> None:
    """Medians over the rounds, ratios, and the share of the machine's peak in the precision that ours found faster."""
    speeds = medians(turns, lambda turn: speed_of(turn.result))
    rows = [row_of(turn) for turn in turns if not turn.name.startswith(PEAK)]
    chosen = statistics.mode(str(row["precision"]) for row in rows if row["system"] == OURS)
    ours = speeds[OURS]
    figures = {
        "target_tokens_per_second": ours,
        "ratio_vs_joeynmt": ours / speeds["joeynmt"],
        "ratio_vs_transformers": ours / speeds["transformers"],
        "ratio_vs_transformers_grouped": ours / speeds["transformers, group_by_length"],
        "share_of_peak": ours * operations_per_token() / speeds[f"{PEAK}, {chosen}"],
        "mflop_per_token": operations_per_token() / 1e6,
        "tokens_per_sentence": mean_length,
        "threads": given.threads,
    }
    figures |= {f"peak_gflops_{name}": speeds[f"{PEAK}, {name}"] / 1e9 for name in precisions}
    for name in precisions[1:]:
        figures[f"ratio_vs_transformers_{name}"] = ours / speeds[f"transformers, {name}"]
        for width in WIDTHS:
            figures[f"ratio_bf16_over_float32_{width}"] = speeds[own(width, name)] / speeds[own(width, "float32")]
    claim = (
        "Target tokens a second of the training loop over those of Joey NMT 2.3 and of transformers' Seq2SeqTrainer: "
        f"same model and data, 2,048 target tokens a batch, on the CPU, ours in {chosen}, which it found to be faster"
    )
    record("bench-training", given, claim=claim, figures=figures, rows=rows)


if __name__ == "__main__":
    execute(main)
