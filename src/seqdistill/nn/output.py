"""The output layer: an embedding, transposed, with an optional bias and scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seqdistill.nn.int8 import ProductInput


class OutputLayer(nn.Module):
    """Logits scale * h W' + b. W is given with each call, as it is an embedding that others own.

    Losses and divergences want a single product, whose logits they hold in memory a chunk at a time. The bias becomes
    one more column of W, which meets a column of ones in h, and the scale goes into h: `states` times the transpose of
    `weight` gives the same logits. Without bias and scale both are what they were.

    With h = (1, 2), W = ((3, 4), (5, 6)), b = (7, 8) and scale 0.5 the logits are 0.5 * 11 + 7 and 0.5 * 17 + 8:

        >>> layer = OutputLayer(2, bias=True, scale=0.5)
        >>> layer.bias.data = torch.tensor([7.0, 8.0])
        >>> h, w = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
        >>> layer(h, w).tolist(), (layer.states(h) @ layer.weight(w).T).tolist()
        ([[12.5, 16.5]], [[12.5, 16.5]])
    """

    bias: Tensor | None

    def __init__(self, vocab: int, *, bias: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.register_parameter("bias", nn.Parameter(torch.zeros(vocab)) if bias else None)
        self.scale = scale
        self.product_input = ProductInput()

    def forward(
        self, hidden: Float[Tensor, "*rows dim"], weight: Float[Tensor, "vocab dim"]
    ) -> Float[Tensor, "*rows vocab"]:
        return F.linear(self._scaled(hidden), weight, self.bias)

    def states(self, hidden: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows width"]:
        """The h of a single product; its width is dim, or dim + 1 with a bias."""
        # (..., dim) -> (..., dim + 1): the appended 1 meets the bias column of `weight`.
        scaled = self._scaled(hidden)
        return scaled if self.bias is None else F.pad(scaled, (0, 1), value=1.0)

    def weight(self, weight: Float[Tensor, "vocab dim"]) -> Float[Tensor, "vocab width"]:
        """The W of a single product."""
        return weight if self.bias is None else torch.cat([weight, self.bias[:, None]], dim=1)

    def _scaled(self, hidden: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        return self.product_input(hidden if self.scale == 1 else hidden * self.scale)
