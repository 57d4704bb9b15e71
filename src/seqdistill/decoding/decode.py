"""The way in: picks the decoder for a model and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn

from seqdistill.decoding import refinement
from seqdistill.decoding.autoregressive import greedy, sample
from seqdistill.decoding.beam import beam_search
from seqdistill.decoding.given import NOTHING, Given
from seqdistill.decoding.mixed import Mixed
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.family import refuse_foreign
from seqdistill.models.interface import Model, RefinementModel
from seqdistill.options import DecodingOptions

Search = Callable[..., list[list[Hypothesis]]]
"""Decodes a batch, given as `source` and `given`: for each sentence up to `n_best` hypotheses, best first."""


def search_for(model: Model, options: DecodingOptions) -> Search:
    """The decoder of this model with these options; the model must be in evaluation mode when it runs.

    Raises:
        UserError: as `check_options`.
    """
    check_options(model, options)
    if model.traits.non_autoregressive:
        search = refinement.refine
    elif options.sampling:
        search = sample
    else:
        search = greedy if options.beam == 1 else beam_search
    return partial(search, cast(Any, model), options=options)


@torch.inference_mode()
def decode(
    model: Model, source: Int[Tensor, "batch source"], options: DecodingOptions, given: Given = NOTHING
) -> list[list[Hypothesis]]:
    """Decodes a batch, in evaluation mode (modes are put back afterwards).

    Args:
        model: an AutoregressiveModel or, where `traits.non_autoregressive` is True, a RefinementModel.
        source: ends with EOS, right-padded with PAD.

    Returns:
        For each sentence up to `n_best` hypotheses, best first.

    Raises:
        UserError: as `check_options`.
    """
    search = search_for(model, options)
    with evaluating(model):
        return search(source=source, given=given) if len(source) else []


@torch.inference_mode()
def trace(model: Model, source: Int[Tensor, "1 source"], options: DecodingOptions) -> list[refinement.TracedHypothesis]:
    """Decodes one sentence as `decode` does, and keeps what it looked like after every iteration.

    Raises:
        UserError: an autoregressive model; as `check_options`.
    """
    check_options(model, options)
    if not model.traits.non_autoregressive:
        raise UserError(
            "a trace shows the iterations of a non-autoregressive model, but this one is autoregressive: leave the "
            "trace out, or give another model"
        )
    with evaluating(model):
        return refinement.trace(cast(RefinementModel, model), source, options)


def check_options(model: Model, options: DecodingOptions) -> None:
    """No option is accepted and then ignored: raises UserError for one of other families than the model's."""
    refuse_foreign(model.traits, vars(options))


def mixed(
    first: Model,
    second: Model,
    source: Int[Tensor, "batch source"],
    *,
    first_tokens: int,
    options: DecodingOptions,
) -> list[list[Hypothesis]]:
    """Lets `first` write the first tokens of every hypothesis and `second` complete it (Lin et al. 2020, table 1).

    Raises:
        UserError: as `Mixed`.
    """
    return decode(Mixed(first, second, first_tokens=first_tokens), source, options)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each submodule's own mode afterwards."""
    # Not `model.eval()` and `model.train()`: a frozen part in evaluation mode must stay in it.
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
