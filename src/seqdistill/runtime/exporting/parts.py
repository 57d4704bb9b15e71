"""What a trained model is made of, as the compiled engine reads it: named matrices and vectors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Part(NamedTuple):
    """One tensor of an exported model.

    `Family.exporters["compiled"]` names a function that takes a model and yields its parts, each name once.
    """

    name: str
    """As in the model's state_dict; what is stored there in another form has a name of its own."""
    values: Tensor
    """Of a matrix (outputs, inputs): the parameter without its gradient, or a view of it, so that training rounds what
    export does. Otherwise a vector."""
    matrix: bool
    """Whether it is a factor of matrix products: packed in blocks, and quantised in int8."""
