"""Sentences of random words."""

import numpy as np

Pairs = list[tuple[str, str]]


def make_pairs(count: int, *, seed: int = 0, longest: int = 12) -> Pairs:
    """Sentence pairs, the target a little longer or shorter than the source."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list("abcdefghij"), size=3)) for _ in range(40)]
    rows = []
    for _ in range(count):
        length = int(random.integers(1, longest + 1))
        other = max(1, length + int(random.integers(-2, 3)))
        rows.append((" ".join(random.choice(words, size=length)), " ".join(random.choice(words, size=other))))
    return rows
