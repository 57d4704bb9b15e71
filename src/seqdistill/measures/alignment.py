"""A corpus with its word alignment: both directions' links, the lexical table, all that the measures need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from seqdistill.errors import UserError
from seqdistill.journal import differences
from seqdistill.measures.aligner import FORWARD, REVERSE, WordModel, best_links, train
from seqdistill.measures.bitext import Bitext
from seqdistill.measures.cells import Cells
from seqdistill.measures.diagonal import prior
from seqdistill.measures.lexicon import LexicalTable, table_of_links, table_of_model
from seqdistill.measures.links import Links, read_pharaoh, write_pharaoh
from seqdistill.measures.symmetry import symmetrize
from seqdistill.options import AlignerOptions
from seqdistill.progress import Progress
from seqdistill.seals import check_listing, listing, read_sealed, write_sealed

_DESCRIPTION, _FILES = "alignment.json", ("forward.pharaoh", "reverse.pharaoh", "table.npz")


@dataclass(frozen=True)
class Alignment:
    """A bitext, aligned in both directions.

    Args:
        forward: for each target word the source word that generates it most probably; links are source-target.
        reverse: for each source word its target word, as source-target links too.
        table: p(target | source), the parameters of a forward model (see `AlignerOptions.table_alpha`).
        tensions: the forward and the reverse model's of the links, at the end.
    """

    bitext: Bitext
    options: AlignerOptions
    forward: Links
    reverse: Links
    table: LexicalTable
    tensions: tuple[float, float]

    def symmetrized(self, heuristic: str, *, progress: Progress | None = None) -> Links:
        """Both directions joined; see `symmetry.symmetrize`."""
        return symmetrize(self.forward, self.reverse, heuristic, progress=progress)

    def counted_table(self) -> LexicalTable:
        """p(target | source) counted on the forward links."""
        return table_of_links(self.bitext, self.forward, f"{self.options.signature}|links:forward")

    def posteriors(self, pair: int) -> Float[np.ndarray, "source target"]:
        """p(source position | target word) of one pair by table and prior, NULL left out: columns sum to 1."""
        sides = self.bitext.source, self.bitext.target
        words = [side.ids[side.starts[pair] : side.starts[pair + 1]].astype(np.int64) for side in sides]
        # All combinations, source by source: words 3 5 and 7 8 9 give 3 3 3 5 5 5 and 7 8 9 7 8 9.
        sources, targets = np.repeat(words[0], len(words[1])), np.tile(words[1], len(words[0]))
        chances = self.table.probabilities[self.table.entries_of(sources, targets)].reshape(len(words[0]), -1)
        # delta times t for each cell; dividing by the column's sum leaves NULL out.
        chances = chances * prior(*chances.shape, tension=self.tensions[0], p0=self.options.p0)
        return chances / chances.sum(axis=0)

    def save(self, folder: Path, *, others: Iterable[str] = ()) -> None:
        """Writes three files, and last `alignment.json`, which says of what, with the hashes of all.

        Args:
            others: files made of the alignment, which lie in the folder already.
        """
        write_pharaoh(folder / "forward.pharaoh", self.forward, self.bitext)
        write_pharaoh(folder / "reverse.pharaoh", self.reverse, self.bitext)
        self.table.save(folder / "table.npz")
        write_sealed(folder / _DESCRIPTION, self._description() | {"files": listing(folder, [*_FILES, *others])})

    @classmethod
    def load(cls, folder: Path, bitext: Bitext, options: AlignerOptions) -> Alignment:
        """Reads what `save` wrote.

        Raises:
            UserError: no alignment there, one of another text or with other settings, or a file that was altered.
        """
        if not (folder / _DESCRIPTION).is_file():
            raise UserError(f"{folder}: no alignment (it holds no {_DESCRIPTION}); align {bitext.name} first")
        remedy = f"delete {folder} and run the same again: it aligns again"
        recorded = read_sealed(folder / _DESCRIPTION, remedy=remedy)
        check_listing(folder, recorded.pop("files"), remedy=remedy)
        forward, reverse = (read_pharaoh(folder / f"{name}.pharaoh", bitext) for name in ("forward", "reverse"))
        one, other = recorded["tensions"]
        found = cls(bitext, options, forward, reverse, LexicalTable.load(folder / "table.npz"), (one, other))
        if changed := differences(recorded, found._description()):
            raise UserError(
                f"{folder}: holds an alignment that differs from the one asked for:\n  " + "\n  ".join(changed)
            )
        return found

    def _description(self) -> dict[str, object]:
        return {
            "text": self.bitext.fingerprint,
            "tokenisation": self.bitext.signature,
            "aligner": self.options.signature,
            "table": self.table.signature,
            "tensions": list(self.tensions),
        }


def align(
    bitext: Bitext,
    options: AlignerOptions | None = None,
    *,
    workers: int = 1,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Trains the aligner in both directions; the same result for any number of threads.

    Memory grows with the number of different word pairs, 28 bytes each, not with the number of sentences beyond the
    8 bytes of a word on either side; the cells lie in a temporary file.

    Args:
        workers: threads.
        scratch: folder of the temporary file, about 6 bytes for each combination of words in a pair.
    """
    options = options or AlignerOptions()
    cells = Cells(bitext, workers=workers, scratch=scratch, progress=progress)
    try:
        # One table in memory at a time: of the reverse model only links and tension are kept.
        reverse_model = train(cells, REVERSE, options, workers=workers, progress=progress)
        reverse = _links(cells, reverse_model, workers)
        tension = reverse_model.tension
        del reverse_model
        model = train(cells, FORWARD, options, workers=workers, progress=progress)
        forward = _links(cells, model, workers)
        tensions = (model.tension, tension)
        if options.table_alpha != options.alpha:
            options_of_table = options.replaced(alpha=options.table_alpha)
            model = train(cells, FORWARD, options_of_table, workers=workers, progress=progress)
        table = table_of_model(cells, model)
    finally:
        cells.close()
    return Alignment(bitext, options, forward, reverse, table, tensions)


def _links(cells: Cells, model: WordModel, workers: int) -> Links:
    forward = model.direction is FORWARD
    side = cells.bitext.target if forward else cells.bitext.source
    return Links.from_best(side, best_links(cells, model, workers=workers), generated_target=forward)
