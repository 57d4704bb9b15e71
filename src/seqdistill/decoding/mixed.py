"""Two models that write one sentence: the first its beginning, the second the rest."""

from __future__ import annotations

from typing import NamedTuple, cast

from jaxtyping import Float, Int
from torch import Tensor

from seqdistill.decoding.autoregressive import Writer
from seqdistill.errors import UserError
from seqdistill.models.interface import Model, State
from seqdistill.models.traits import Traits


class MixedState(NamedTuple):
    """Both models' states; `first` is kept only while the first model writes."""

    first: State | None
    second: State
    written: int
    """Tokens written so far."""

    def repeat(self, n: int) -> MixedState:
        first = None if self.first is None else self.first.repeat(n)
        return self._replace(first=first, second=self.second.repeat(n))

    def select(self, rows: Int[Tensor, " new_rows"]) -> MixedState:
        first = None if self.first is None else self.first.select(rows)
        return self._replace(first=first, second=self.second.select(rows))


class Mixed(Model):
    """The first model predicts tokens 0 .. first_tokens - 1, the second all later ones (Lin et al. 2020, table 1).

    The second model reads along from the beginning. Being itself an autoregressive model, the pair can be
    decoded by every decoder; its log-probabilities are those of whichever model predicts the token.
    """

    traits = Traits()
    first: Writer
    second: Writer

    def __init__(self, first: Model, second: Model, *, first_tokens: int):
        """Both models must share their vocabularies; 0 tokens is `second` alone.

        Raises:
            UserError: a model that is not autoregressive, or a negative number of tokens.
        """
        if first.traits.non_autoregressive or second.traits.non_autoregressive:
            raise UserError("mixed decoding needs two autoregressive models; a non-autoregressive one cannot")
        if first_tokens < 0:
            raise UserError(f"the first model writes 0 or more tokens, but {first_tokens} were asked for")
        super().__init__()
        self.first, self.second = cast(Writer, first), cast(Writer, second)
        self.first_tokens = first_tokens
        self.source_ids, self.target_ids = self.second.source_ids, self.second.target_ids

    def encode(self, source: Int[Tensor, "batch source"]) -> MixedState:
        first = self.first.encode(source) if self.first_tokens > 0 else None
        return MixedState(first, self.second.encode(source), 0)

    def step(self, tokens: Int[Tensor, " rows"], state: MixedState) -> tuple[Float[Tensor, "rows vocab"], MixedState]:
        # Both read every token while the first writes, so the second one's state is complete when its turn comes.
        log_probs, second = self.second.step(tokens, state.second)
        if state.first is None:
            return log_probs, MixedState(None, second, state.written + 1)
        log_probs, first = self.first.step(tokens, state.first)
        written = state.written + 1
        return log_probs, MixedState(first if written < self.first_tokens else None, second, written)
