"""Whether translations keep the order of the source: the fuzzy reordering score (Talbot et al. 2011)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from seqdistill.measures.links import Links


def reordering_scores(links: Links) -> Float[np.ndarray, " pairs"]:
    """1 - (chunks - 1) / (matched - 1) of each pair: 1 is monotone, 0 keeps no two words together; NaN undefined.

    Matched are the source words with a link. They are put into the order of the target, by the mean position of their
    links, equal ones in source order; a chunk is a run of them that followed each other directly, among the matched, in
    the source. Fewer than two matched words have no order: NaN. (Talbot et al. compare with a reordering made by hand;
    as in Zhou et al. 2020, section 4.2, the target is the order to compare with.)

    Three words linked to places 2, 0 and 1: in the target's order they are 1 2 0, the chunks "1 2" and "0".

        >>> reordering_scores(Links.from_lists([[(0, 2), (1, 0), (2, 1)], [(0, 0), (1, 1)]])).tolist()
        [0.5, 1.0]
    """
    pairs = links.pairs()
    # A run of links with one pair and one source word is a matched word; words are numbered through all pairs.
    starts_word = np.ones(len(pairs), dtype=bool)
    starts_word[1:] = (np.diff(pairs) != 0) | (np.diff(links.source) != 0)
    first = np.flatnonzero(starts_word)
    counts = np.diff(np.append(first, len(pairs)))
    sums = np.add.reduceat(links.target.astype(np.float64), first) if len(first) else np.zeros(0)
    word_pair, position = pairs[first], sums / counts
    order = np.lexsort((np.arange(len(first)), position, word_pair))
    # Neighbours in the target's order that are successive numbers of one pair followed each other in the source too.
    # In the example the order is 1 2 0, with steps 1 and -2: one joint, so 3 - 1 = 2 chunks.
    follows = (np.diff(order) == 1) & (np.diff(word_pair[order]) == 0)
    matched = np.bincount(word_pair, minlength=links.num_pairs)
    joined = np.bincount(word_pair[order][1:][follows], minlength=links.num_pairs)
    chunks = matched - joined
    return np.where(matched > 1, 1 - (chunks - 1) / np.maximum(matched - 1, 1), np.nan)
