"""One alignment from two directions: intersection, union, and what grows between them (Och and Ney 2003; Koehn 2005).

What the growing heuristics add depends on the order in which links are tried, and programs differ in it. Here, as in
sil-thot: the union's links by source, then target position, until a round adds nothing; the final step takes
the forward links, then the reverse ones, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from seqdistill.errors import UserError, nearest
from seqdistill.measures.links import Link, Links, link_lists
from seqdistill.progress import Progress, Silent

_NEIGHBOURS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))
_REPORTED = 1000

Pair = Callable[[set[Link], set[Link]], set[Link]]
Wanted = Callable[[bool, bool], bool]
"""Whether to add a link, from whether its source and its target word have none yet."""


def symmetrize(forward: Links, reverse: Links, heuristic: str, *, progress: Progress | None = None) -> Links:
    """Joins the links of two directions.

    Args:
        forward, reverse: both as source-target (flip a file that is stored target-source).
        heuristic: a key of HEURISTICS.

    Raises:
        UserError: an unknown heuristic, or different numbers of pairs.
    """
    check_heuristic(heuristic)
    if forward.num_pairs != reverse.num_pairs:
        raise UserError(
            f"{forward.num_pairs:,} pairs have forward links but {reverse.num_pairs:,} have reverse links; expected "
            "both directions of the same corpus: align it again in both"
        )
    join = HEURISTICS[heuristic]
    progress = progress or Silent()
    progress.start(f"symmetrising ({heuristic})", total=forward.num_pairs, unit="pairs")
    joined = Links.from_lists(_joined(forward, reverse, join, progress))
    progress.finish()
    return joined


def check_heuristic(heuristic: str) -> None:
    """Raises UserError for one that is not in HEURISTICS; tells the nearest."""
    if heuristic not in HEURISTICS:
        raise UserError(f"unknown symmetrisation {heuristic!r}: {nearest(heuristic, HEURISTICS)}")


def _joined(forward: Links, reverse: Links, join: Pair, progress: Progress) -> Iterator[set[Link]]:
    for pair, (one, other) in enumerate(zip(link_lists(forward), link_lists(reverse), strict=True)):
        yield join(set(one), set(other))
        if (pair + 1) % _REPORTED == 0 or pair + 1 == forward.num_pairs:
            progress.advance((pair % _REPORTED) + 1)


def grow_diagonal(forward: set[Link], reverse: set[Link]) -> set[Link]:
    """The intersection, grown by links of the union that neighbour a link and give a word its first one.

    The diagonal neighbour 1-1 gives source word 1 its first link, and then 1-2 gives target word 2 its own:

        >>> sorted(grow_diagonal({(0, 0), (1, 1), (2, 1)}, {(0, 0), (1, 2), (2, 1)}))
        [(0, 0), (1, 1), (1, 2), (2, 1)]
    """
    return _grown(forward, reverse, lambda source, target: source or target)


def grow_diagonal_and(forward: set[Link], reverse: set[Link]) -> set[Link]:
    """`grow_diagonal`, but only by links that give both words their first one."""
    return _grown(forward, reverse, lambda source, target: source and target)


def _grown(forward: set[Link], reverse: set[Link], wanted: Wanted) -> set[Link]:
    links = forward & reverse
    sources, targets = {link[0] for link in links}, {link[1] for link in links}
    # Links that are added in a round count as neighbours, and their words as linked, at once, in the same round.
    waiting = sorted((forward | reverse) - links)
    grown = True
    while grown:
        grown = False
        for i, j in waiting:
            near = any((i + down, j + right) in links for down, right in _NEIGHBOURS)
            if near and wanted(i not in sources, j not in targets):
                links.add((i, j))
                sources.add(i)
                targets.add(j)
                grown = True
        # A link that was refused may have a neighbour in the next round.
        waiting = [link for link in waiting if link not in links]
    return links


def grow_diagonal_final(forward: set[Link], reverse: set[Link]) -> set[Link]:
    """`grow_diagonal`, then links of each direction where at least one word has none yet."""
    return _finished(grow_diagonal(forward, reverse), forward, reverse, lambda source, target: source or target)


def grow_diagonal_final_and(forward: set[Link], reverse: set[Link]) -> set[Link]:
    """`grow_diagonal`, then links of each direction where neither word has one yet."""
    return _finished(grow_diagonal(forward, reverse), forward, reverse, lambda source, target: source and target)


def grow_diagonal_and_final_and(forward: set[Link], reverse: set[Link]) -> set[Link]:
    """`grow_diagonal_and`, then links of each direction where neither word has one yet.

    It is what lilt/alignment-scripts publish as grow-diagonal-final.
    """
    return _finished(grow_diagonal_and(forward, reverse), forward, reverse, lambda source, target: source and target)


def _finished(links: set[Link], forward: set[Link], reverse: set[Link], wanted: Wanted) -> set[Link]:
    sources, targets = {link[0] for link in links}, {link[1] for link in links}
    for direction in (forward, reverse):
        for i, j in sorted(direction):
            if wanted(i not in sources, j not in targets):
                links.add((i, j))
                sources.add(i)
                targets.add(j)
    return links


HEURISTICS: dict[str, Pair] = {
    "forward": lambda forward, _: forward,
    "reverse": lambda _, reverse: reverse,
    "intersection": lambda forward, reverse: forward & reverse,
    "union": lambda forward, reverse: forward | reverse,
    "grow-diagonal": grow_diagonal,
    "grow-diagonal-and": grow_diagonal_and,
    "grow-diagonal-final": grow_diagonal_final,
    "grow-diagonal-final-and": grow_diagonal_final_and,
    "grow-diagonal-and-final-and": grow_diagonal_and_final_and,
}
"""Joins by name; `forward` and `reverse` keep one direction."""
