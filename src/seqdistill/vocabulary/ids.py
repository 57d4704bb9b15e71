"""Ids with a meaning of their own: what models and decoders must know of a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class SpecialIds(NamedTuple):
    """The special ids of one side of a vocabulary. None: it has no such symbol."""

    pad: int
    """Fills rows up; stands nowhere else. A vocabulary without one (GPT's) gets an id of its own, after the last."""
    eos: int
    """Ends every sentence."""
    decoder_start: int
    """What a decoder reads before the first word: BOS of ours, PAD of Marian's, the language's code of NLLB's."""
    bos: int | None = None
    unk: int | None = None
    mask: int | None = None
    """Stands where a non-autoregressive model has not written yet."""
    decoder_prompt: tuple[int, ...] = ()
    """What it reads before that: EOS of NLLB's, which so begins with a language code that is forced, not written."""
    never_written: tuple[int, ...] = ()
    """Ids that no decoder and no engine writes, in ascending order."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SpecialIds:
        """From JSON."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)

    def with_mask(self, size: int) -> SpecialIds:
        """With MASK after the last id of a vocabulary of this size, if it has none."""
        return self if self.mask is not None else self._replace(mask=size, never_written=(*self.never_written, size))

    @property
    def before_words(self) -> tuple[int, ...]:
        """All that a decoder reads before the first word, in order."""
        return (*self.decoder_prompt, self.decoder_start)

    @property
    def no_words(self) -> tuple[int, ...]:
        """What a model that finds the length in another way does not write either: EOS too."""
        return tuple(sorted((*self.never_written, self.eos)))

    @property
    def placeholder(self) -> int:
        """MASK, where there must be one: non-autoregressive models are made for vocabularies that have it."""
        assert self.mask is not None, "this vocabulary has no MASK: see `with_mask`"
        return self.mask


OURS = SpecialIds(pad=0, eos=3, decoder_start=2, bos=2, unk=1, mask=4, never_written=(0, 1, 2, 4))
"""Of the SentencePiece models that `prepare` trains. UNK is not written because it is no word (it reads "⁇")."""
