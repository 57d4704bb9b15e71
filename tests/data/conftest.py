"""Small stores of made-up text."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from seqdistill.data.store import Store, build_store
from seqdistill.text.tokenizer import Tokenizers, train_tokenizers

Pairs = list[tuple[str, str]]


def make_pairs(count: int, *, seed: int = 0, longest: int = 12) -> Pairs:
    """Sentences of random words, the target a little longer or shorter than the source."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list("abcdefghij"), size=3)) for _ in range(40)]
    rows = []
    for _ in range(count):
        length = int(random.integers(1, longest + 1))
        other = max(1, length + int(random.integers(-2, 3)))
        rows.append((" ".join(random.choice(words, size=length)), " ".join(random.choice(words, size=other))))
    return rows


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    return make_pairs(300)


@pytest.fixture(scope="session")
def tokenizers(pairs: Pairs) -> Tokenizers:
    return train_tokenizers(pairs, vocab_size=48)


@pytest.fixture(scope="session")
def store_of(tokenizers: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence], Store]:
    """Builds and opens a store of these pairs."""

    def build(rows: Sequence[tuple[str, str]]) -> Store:
        path: Path = tmp_path_factory.mktemp("store") / "train.arrow"
        build_store(rows, tokenizers, path)
        return Store.open(path)

    return build


@pytest.fixture(scope="session")
def store(pairs: Pairs, store_of: Callable[[Sequence], Store]) -> Store:
    return store_of(pairs)
