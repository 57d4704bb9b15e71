"""Do 4.5 million pairs align in 8 GB, at 6 minutes a million? And beside sil-thot and eflomal? Writes bench-alignment.

    pip install sil-thot eflomal
    python -m benchmarks.alignment [--pairs N] [--rival-pairs N] [--source FILE --target FILE] [--workers N]

Real text (Multi30k, tokenised) is repeated until there is enough of it; in every copy but the first each word is
replaced, with a chance of 5 %, by one drawn from the text as often as it occurs there, so that new pairs of words keep
coming. Ours reads the text, aligns both directions, and takes complexity and faithfulness, in a fresh process on all
cores. On the first N pairs ours, sil-thot and eflomal take turns, each in a fresh process with both directions, reading
and links; a ratio is our time over theirs.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from evidence.processes import in_fresh_process, peak_mb
from evidence.rounds import by_name, rounds
from evidence.script import arguments, captions, execute, record, tell
from seqdistill.measures.alignment import align
from seqdistill.measures.bitext import Bitext, read_bitext
from seqdistill.measures.complexity import complexity, faithfulness
from seqdistill.measures.links import write_pharaoh
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.options import AlignerOptions
from seqdistill.text.corpus import ParallelCorpus

REPLACED = 0.05
FITS = AlignerOptions().num_fits


def write_text(bitext: Bitext, folder: Path, count: int) -> None:
    """Writes `count` pairs: the bitext, then perturbed copies of it."""
    generator = np.random.default_rng(1)
    for name, side in (("source", bitext.source), ("target", bitext.target)):
        words = np.array(side.words, dtype=object)
        with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
            for start in range(0, count, len(bitext)):
                ids = side.ids
                if start:
                    drawn = side.ids[generator.integers(len(side.ids), size=len(side.ids))]
                    ids = np.where(generator.random(len(ids)) < REPLACED, drawn, ids)
                text = words[ids].tolist()
                for pair in range(min(len(bitext), count - start)):
                    file.write(" ".join(text[side.starts[pair] : side.starts[pair + 1]]) + "\n")


def ours(folder: Path, *, workers: int, measures: bool) -> dict[str, float]:
    """Alignment in both directions with links on disk, then complexity and faithfulness if asked for."""
    began = time.monotonic()
    plain = create_tokenizer(name="none")
    text = ParallelCorpus.from_files(folder / "source.txt", folder / "target.txt")
    bitext = read_bitext(text, plain, plain, name="text")
    read = time.monotonic()
    found = align(bitext, workers=workers, scratch=folder)
    write_pharaoh(folder / "ours.forward", found.forward, found.bitext)
    write_pharaoh(folder / "ours.reverse", found.reverse, found.bitext)
    figures = {"read_seconds": read - began, "align_seconds": time.monotonic() - read}
    if measures:
        aligned = time.monotonic()
        figures["complexity"] = complexity(found.table)
        figures["faithfulness_to_itself"] = faithfulness(found.table, found.table).value
        figures["measure_seconds"] = time.monotonic() - aligned
    figures["seconds"] = time.monotonic() - began
    return figures | {"entries": len(found.table.targets), "peak_mb": peak_mb()}


def thot_matrices(source: list[list[str]], target: list[list[str]]) -> Iterator[np.ndarray]:
    """Each pair's links by sil-thot's FastAlignModel, trained with as many iterations and the same prior as ours."""
    from thot.alignment import FastAlignModel

    model = FastAlignModel()
    model.variational_bayes = True
    for one, other in zip(source, target, strict=True):
        model.add_sentence_pair(one, other, 1)
    model.start_training()
    for _ in range(FITS):
        model.train()
    model.end_training()
    return (matrix.to_numpy() for _, matrix in model.get_best_alignments(source, target))


def thot(folder: Path) -> dict[str, float]:
    """The same by sil-thot."""
    began = time.monotonic()
    sides = [
        [line.split() for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
        for name in ("source", "target")
    ]
    for name, (source, target) in (("forward", sides), ("reverse", sides[::-1])):
        with (folder / f"thot.{name}").open("w") as file:
            for matrix in thot_matrices(source, target):
                links = zip(*(axis.tolist() for axis in np.nonzero(matrix)), strict=True)
                file.write(" ".join(f"{i}-{j}" for i, j in links) + "\n")
    return {"seconds": time.monotonic() - began, "peak_mb": peak_mb()}


def eflomal(folder: Path) -> dict[str, float]:
    """The same by eflomal (its own model, with fertilities); its work is done by a program of its own."""
    from eflomal import Aligner

    began = time.monotonic()
    with (folder / "source.txt").open() as source, (folder / "target.txt").open() as target:
        Aligner().align(
            source,
            target,
            links_filename_fwd=str(folder / "eflomal.forward"),
            links_filename_rev=str(folder / "eflomal.reverse"),
        )
    return {"seconds": time.monotonic() - began, "peak_mb": peak_mb()}


def main() -> None:
    parser = arguments(__doc__, pairs=4_500_000, rival_pairs=100_000, rounds=3, **captions("en", "de"))
    parser.add_argument("--languages", nargs=2, default=["en", "de"])
    parser.add_argument("--lines", type=int, help="use only that many lines of the text")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--scratch", type=Path, help="folder for about 8 GB of temporary files")
    given = parser.parse_args()
    corpus = list(ParallelCorpus.from_files(given.source, given.target))[: given.lines]
    tokenizers = [create_tokenizer(language) for language in given.languages]
    bitext = read_bitext(corpus, *tokenizers, name="text")
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        folder = Path(scratch)
        write_text(bitext, folder, given.rival_pairs)
        systems = {
            "seqdistill": partial(in_fresh_process, partial(ours, workers=given.workers, measures=False), folder),
            "sil-thot": partial(in_fresh_process, thot, folder),
            "eflomal": partial(in_fresh_process, eflomal, folder),
        }
        turns = list(rounds(systems, given.rounds, warmup=0, tell=tell))
        write_text(bitext, folder, given.pairs)
        whole = in_fresh_process(partial(ours, workers=given.workers, measures=True), folder)
    rows = [{"system": turn.name, "pairs": given.rival_pairs, **turn.result} for turn in turns]
    rows.append({"system": "seqdistill", "pairs": given.pairs, **whole})
    fastest = {name: min(times) for name, times in by_name(turns, lambda turn: turn.result["seconds"]).items()}
    figures = {
        "pairs": given.pairs,
        "minutes": whole["seconds"] / 60,
        "peak_mb": whole["peak_mb"],
        "ratio_vs_thot": fastest["seqdistill"] / fastest["sil-thot"],
        "ratio_vs_eflomal": fastest["seqdistill"] / fastest["eflomal"],
    }
    record(
        "bench-alignment",
        given,
        claim="Reading, aligning in both directions, C and F of millions of pairs: minutes and peak memory; our time "
        f"over sil-thot's and eflomal's on {given.rival_pairs:,} of them.",
        figures=figures,
        rows=rows,
    )


if __name__ == "__main__":
    execute(main)
