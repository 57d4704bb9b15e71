"""Small stores of made-up text."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from made_up_text import Pairs, make_pairs

from seqdistill.data.store import Store, build_store
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    return make_pairs(300)


@pytest.fixture(scope="session")
def tokenizers(pairs: Pairs) -> Vocabularies:
    return train_vocabularies(pairs, vocab_size=48)


@pytest.fixture(scope="session")
def store_of(tokenizers: Vocabularies, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence], Store]:
    """Builds and opens a store of these pairs."""

    def build(rows: Sequence[tuple[str, str]]) -> Store:
        path: Path = tmp_path_factory.mktemp("store") / "train.arrow"
        build_store(rows, tokenizers, path)
        return Store.open(path)

    return build


@pytest.fixture(scope="session")
def store(pairs: Pairs, store_of: Callable[[Sequence], Store]) -> Store:
    return store_of(pairs)
