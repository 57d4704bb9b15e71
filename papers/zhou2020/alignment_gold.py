"""How many links are wrong? Alignment error rates on gold alignments, beside sil-thot's; writes alignment-gold.

    python -m papers.zhou2020.alignment_gold [--data ../shared/data] [--lines N]

Every aligner is trained on the gold text itself and, where there is any, on other text of the two languages (German-
English: news and captions; French: captions). The published systems had about two million pairs of the gold texts' own
kind, so compare aligners that were trained on the same text; theirs stand beside for the order of the directions:
"joined here" their directions by our heuristics, "as published" their own files. Error rates are percent;
grow_diagonal_and adds a link only where both words have none, as the published program does, in its final step too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.alignment import thot_matrices
from evidence.script import arguments, execute, record
from seqdistill.measures.alignment import align
from seqdistill.measures.bitext import Bitext, read_bitext
from seqdistill.measures.gold import GoldLinks, agreement, read_gold
from seqdistill.measures.links import Links, read_pharaoh
from seqdistill.measures.symmetry import HEURISTICS, symmetrize
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.options import AlignerOptions
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.lines import read_lines

OTHER_TEXT = {
    "deen": [("news-de-en/train", "de", "en"), ("multi30k/train", "de", "en")],
    "enfr": [("multi30k/train", "en", "fr")],
    "roen": [],
}
OURS = {
    "seqdistill": AlignerOptions(),
    "seqdistill, maximum likelihood": AlignerOptions(alpha=0.0),
    "seqdistill, fitted tension": AlignerOptions(fit_tension=True),
}
SHOWN = {"forward": "forward", "reverse": "reverse", "grow_diagonal": "grow-diagonal-and"}

PUBLISHED = {"fast_align": "fastalign", "MGIZA": "giza"}
THEIRS = {
    "intersection": "intersection",
    "union": "union",
    "grow_diagonal_and": "grow-diagonal",
    "grow_diagonal_and_final_and": "grow-diagonal-final",
}
"""Ends of the published program's files, by our heuristic that does the same."""


def training_text(data: Path, languages: str, lines: int | None) -> Iterator[tuple[str, str]]:
    """The gold text, which is tokenised, then other text, tokenised as it is."""
    for line in read_lines(data / "alignment" / f"{languages}.text"):
        source, _, target = line.partition("|||")
        yield source, target
    for stem, source, target in OTHER_TEXT[languages]:
        tokenizers = create_tokenizer(source), create_tokenizer(target)
        corpus = ParallelCorpus.from_files(data / f"{stem}.{source}.gz", data / f"{stem}.{target}.gz")
        for pair in islice(corpus, lines):
            one, other = (tokenizer.split(text) for tokenizer, text in zip(tokenizers, pair, strict=True))
            yield " ".join(one), " ".join(other)


def ours(bitext: Bitext, count: int, options: AlignerOptions) -> tuple[Links, Links]:
    """Links of the first `count` pairs in both directions."""
    found = align(bitext, options, workers=os.cpu_count() or 1)
    return first(found.forward, count), first(found.reverse, count)


def thot(bitext: Bitext, count: int) -> tuple[Links, Links]:
    """The same by sil-thot."""
    sides = [[side.sentence(pair) for pair in range(len(bitext))] for side in (bitext.source, bitext.target)]
    found = []
    for one, other in (sides, sides[::-1]):
        matrices = islice(thot_matrices(one, other), count)
        found.append(
            Links.from_lists([zip(*(axis.tolist() for axis in np.nonzero(each)), strict=True) for each in matrices])
        )
    return found[0], found[1].flipped()


def published(data: Path, languages: str, system: str) -> tuple[Links, Links]:
    """The links of a published system."""
    stem = data / "alignment" / f"{languages}.{system}"
    return read_pharaoh(Path(f"{stem}.forward")), read_pharaoh(Path(f"{stem}.reverse")).flipped()


def joined_by_them(data: Path, languages: str, system: str, gold: list[GoldLinks]) -> dict[str, float]:
    """Error rates of the files in which the published program joined its own directions, by our names for its ways."""
    files = {name: data / "alignment" / f"{languages}.{system}.{end}" for name, end in THEIRS.items()}
    return {
        f"aer_{name}": round(100 * agreement(read_pharaoh(file), gold).error_rate, 2) for name, file in files.items()
    }


def first(links: Links, count: int) -> Links:
    """The links of the first pairs."""
    end = links.starts[count]
    return Links(links.starts[: count + 1], links.source[:end], links.target[:end])


def row_of(
    system: str, languages: str, num_pairs: int, directions: tuple[Links, Links], gold: list[GoldLinks]
) -> dict[str, object]:
    """Error rates of one system under every way to join its directions."""
    row: dict[str, object] = {"system": system, "languages": languages, "training_pairs": num_pairs}
    for heuristic in HEURISTICS:
        found = agreement(symmetrize(*directions, heuristic), gold)
        row[f"aer_{heuristic.replace('-', '_')}"] = round(100 * found.error_rate, 2)
    return row


def main() -> None:
    parser = arguments(__doc__, data=Path("../shared/data"))
    parser.add_argument("--lines", type=int, help="use only that many lines of each other text")
    given = parser.parse_args()
    words = create_tokenizer(name="none", lowercase=True)
    figures, rows = {}, []
    for languages in OTHER_TEXT:
        bitext = read_bitext(training_text(given.data, languages, given.lines), words, words, name=languages)
        gold = read_gold(given.data / "alignment" / f"{languages}.gold")
        assert bitext.lines[len(gold) - 1] == len(gold), "a blank line among the gold text"
        systems = {
            **{name: (len(bitext), ours(bitext, len(gold), options)) for name, options in OURS.items()},
            "sil-thot": (len(bitext), thot(bitext, len(gold))),
            **{
                f"{name}, joined here": (None, published(given.data, languages, end)) for name, end in PUBLISHED.items()
            },
        }
        for system, (num_pairs, directions) in systems.items():
            rows.append(row_of(system, languages, num_pairs or 0, directions, gold) | {"training_pairs": num_pairs})
            print(*rows[-1].values(), flush=True)
        for name, end in PUBLISHED.items():
            theirs = joined_by_them(given.data, languages, end, gold)
            rows.append({"system": f"{name}, as published", "languages": languages, "training_pairs": None} | theirs)
        own = next(row for row in rows if row["languages"] == languages)
        figures |= {
            f"{languages}_aer_{name}": float(str(own[f"aer_{heuristic.replace('-', '_')}"]))
            for name, heuristic in SHOWN.items()
        }
    record(
        "alignment-gold",
        given,
        claim="Percent of wrong links (alignment error rate) against gold alignments, of aligners trained on the same "
        "text, beside published systems trained on about two million pairs.",
        figures=figures,
        rows=rows,
    )


if __name__ == "__main__":
    execute(main)
