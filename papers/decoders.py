"""Decoders as `seqdistill translate` opens them, to be timed on one core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.decoding.engine import Engine
from seqdistill.hypothesis import TextHypothesis
from seqdistill.options import DecodingOptions, TranslateOptions
from seqdistill.verbs.engine import decoding_options, open_engine


class Decoder(NamedTuple):
    """An engine and how it decodes."""

    engine: Engine
    options: DecodingOptions

    def one_by_one(self, sources: Sequence[str]) -> Callable[[], None]:
        """Decodes each sentence by itself, when called."""

        def decode() -> None:
            for line in sources:
                self.engine.decode([line], self.options)

        return decode

    def together(self, sources: Sequence[str]) -> list[TextHypothesis]:
        """The best hypothesis of each sentence; the engine forms the batches."""
        return [found[0] for found in self.engine.decode(sources, self.options)]


def open_decoder(**options: object) -> Decoder:
    """The decoder of these options of `translate`, on one thread.

    Raises:
        UserError: as `translate` does.
    """
    torch.set_num_threads(1)
    asked = TranslateOptions.model_validate(options)
    engine = open_engine(asked).engine
    return Decoder(engine, decoding_options(asked, engine))


def sources_of_test_set(data: Path) -> list[str]:
    """Sources of a data directory's test set."""
    test = DataDirectory.open(data).test
    assert test is not None, "the recipe prepares test text"
    return list(test.sources())
