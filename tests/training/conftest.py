"""Made-up parallel text, stored and opened."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from seqdistill.data.store import Store, build_store
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies


class Data(NamedTuple):
    train: Store
    valid: Store
    tokenizers: Vocabularies


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Sentences of two to six made-up words; the target is the source reversed."""
    random = np.random.default_rng(3)
    words = ["ba", "do", "ke", "lu", "mi", "no", "ra", "su"]
    sources = [random.choice(words, size=int(random.integers(2, 7))).tolist() for _ in range(220)]
    pairs = [(" ".join(words), " ".join(reversed(words))) for words in sources]
    tokenizers = train_vocabularies(pairs, vocab_size=26)
    folder: Path = tmp_path_factory.mktemp("data")
    build_store(pairs[:200], tokenizers, folder / "train.arrow")
    build_store(pairs[200:], tokenizers, folder / "valid.arrow")
    tokenizers.save(folder / "tokenizer")
    return Data(Store.open(folder / "train.arrow"), Store.open(folder / "valid.arrow"), tokenizers)
