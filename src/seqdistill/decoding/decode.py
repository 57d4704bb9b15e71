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
from seqdistill.decoding.hypothesis import DecodingOptions, Hypothesis
from seqdistill.decoding.mixed import Mixed
from seqdistill.decoding.processors import NOTHING, Given
from seqdistill.errors import UserError
from seqdistill.models.interface import Model, RefinementModel

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
        UserError: a model that writes left to right; as `check_options`.
    """
    check_options(model, options)
    if not model.traits.non_autoregressive:
        raise UserError(
            "a trace shows the iterations of a model that writes all positions at once, but this one writes left to "
            "right: leave the trace out, or give a non-autoregressive model"
        )
    with evaluating(model):
        return refinement.trace(cast(RefinementModel, model), source, options)


def check_options(model: Model, options: DecodingOptions) -> None:
    """No option is accepted and then ignored.

    Raises:
        UserError: sampling from a model that writes all positions at once, or rules about what it writes next;
            iterations of one that writes left to right, or several of one that needs a single pass; a penalty on
            inserting nothing for one that inserts nothing; rescoring by one without latent variables.
    """
    if not model.traits.non_autoregressive:
        refuse_refinement(options)
        return
    for name in ("no_repeat_ngram", "min_length"):
        if value := getattr(options, name):
            raise UserError(
                f"{name} {value} is for a model that writes left to right, but this one writes all positions at once: "
                f"leave {name} out"
            )
    if options.sampling:
        raise UserError(
            "sampling needs a model that writes left to right, but this one writes all positions at once: "
            "decode it without sampling (beam sets the number of lengths tried)"
        )
    if not model.traits.iterates and (options.iterations or 1) > 1:
        raise UserError(
            f"this model writes its output in one pass, but iterations is {options.iterations}: leave iterations out"
        )
    if options.penalty and not model.traits.inserts:
        raise UserError(
            f"penalty {options.penalty} is on inserting nothing, but this model inserts no words: leave penalty out"
        )
    if options.rescoring_samples and not model.traits.rescores:
        raise UserError(
            f"rescoring_samples {options.rescoring_samples} is for a model with latent variables (flowseq), but this "
            "one has none: leave rescoring_samples out"
        )


def refuse_refinement(options: DecodingOptions) -> None:
    """Raises UserError for options that models that write left to right do not have."""
    for name in ("iterations", "penalty", "rescoring_samples"):
        if value := getattr(options, name):
            raise UserError(
                f"{name} {value} is for a model that writes all positions at once, but this one writes left to right: "
                f"leave {name} out"
            )


def mixed(
    first: Model,
    second: Model,
    source: Int[Tensor, "batch source"],
    *,
    first_tokens: int,
    options: DecodingOptions,
) -> list[list[Hypothesis]]:
    """Lets `first` write the first tokens of every hypothesis and `second` complete it ([L] section 2, table 1).

    Raises:
        UserError: as `Mixed`.
    """
    return decode(Mixed(first, second, first_tokens=first_tokens), source, options)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each submodule's own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
