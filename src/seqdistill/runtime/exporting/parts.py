"""What a trained model is made of, as the compiled engine reads it: named matrices and vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One tensor of an exported model.

    `Family.exporters["compiled"]` names a function that takes a model and yields its parts, each name once.
    """

    name: str
    """As in the model's state_dict; what is stored there in another form has a name of its own."""
    values: np.ndarray
    """float32: (outputs, inputs) of a matrix, otherwise a vector."""
    matrix: bool
    """Whether it is a factor of matrix products: packed in blocks, and quantised in int8."""
