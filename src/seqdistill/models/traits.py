"""Properties of a model that decoders, engines and verbs ask for, without knowing its class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What a model can do; the default is an autoregressive model.

    All but the last are for non-autoregressive models.
    """

    non_autoregressive: bool = False
    """Writes all positions at once (a RefinementModel); otherwise left to right (an AutoregressiveModel)."""
    iterates: bool = False
    """Several iterations make its outputs better; otherwise one pass says all."""
    inserts: bool = False
    """Inserts words, and so finds the length itself: one candidate a sentence, and a penalty on inserting nothing."""
    rescores: bool = False
    """Has latent variables (a RescoringModel)."""
    settles: bool = True
    """A row that an iteration has not changed will not be changed by later ones either. Not so for a model that does
    something else in each iteration, such as to mask fewer words."""
    experts: bool = False
    """Its experts compete for whole targets, and one of them writes (a Mixture)."""
