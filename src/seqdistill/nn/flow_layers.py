"""The layers of a generative flow over padded sequences that reads a source (Ma et al. 2019, section 3.2).

A layer has `forward(x, condition)`, from latent variables towards noise, and `inverse(y, condition)`, the way back.
Both return what they made of every row and the logarithm of |det J| of what they did. Positions of padding neither
change the others nor count. Latent variables keep their type under autocast: only the networks that choose scales and
shifts are computed in a lower precision.

Invariants, which tests check: `inverse` undoes `forward` at real positions, with minus its log-determinant; padding
that is 0 stays 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqdistill.nn.layers import DecoderLayer, sinusoids

Sequences = Float[Tensor, "rows length dim"]
Part = Float[Tensor, "rows part_length part_dim"]
LogDets = Float[Tensor, " rows"]

SMALLEST_DEVIATION = 1e-2
"""Standard deviation below which a dimension counts as constant when an ActNorm is fitted."""


class Condition(NamedTuple):
    """What a flow is conditioned on, besides its parameters."""

    mask: Bool[Tensor, "rows length"]
    """False at padding, which stands at the right. Real lengths are multiples of the flow's `unit`."""
    memory: Float[Tensor, "rows source memory_dim"]
    """States of the source."""
    memory_mask: Bool[Tensor, "rows source"]

    def halved(self) -> Condition:
        """The condition for sequences half as long: every second position is left, or two have become one."""
        return self._replace(mask=self.mask[:, ::2])


class ActNorm(nn.Module):
    """A scale and a shift for each dimension, at first those that standardise the data (section 3.2.1).

    Fitted to the real positions 1 and 5, mean 3 and deviation 2: it halves and shifts, so log |det J| is -ln 2 for
    each.

        >>> source = torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)
        >>> condition = Condition(torch.tensor([[True, True, False]]), *source)
        >>> norm, x = ActNorm(1), torch.tensor([[[1.0], [5.0], [0.0]]])
        >>> norm.fit(x, condition)
        >>> y, log_det = norm(x, condition)
        >>> y[0, :2].flatten().tolist(), round(log_det.item(), 4)
        ([-1.0, 1.0], -1.3863)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        # A diagonal map: log |det J| of a position is the sum of log_scale, and every real position adds it once.
        y = x * self.log_scale.exp() + self.shift
        return y * condition.mask[..., None], self.log_scale.sum() * condition.mask.sum(1)

    def inverse(self, y: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        x = (y - self.shift) * (-self.log_scale).exp()
        return x * condition.mask[..., None], -self.log_scale.sum() * condition.mask.sum(1)

    @torch.no_grad()
    def fit(self, x: Sequences, condition: Condition) -> None:
        """Makes the real positions of `forward(x)` have mean 0 and variance 1 in each dimension."""
        # (real positions, dim). Without correction, so that the variance of these very values becomes 1.
        deviation, mean = torch.std_mean(x[condition.mask], dim=0, correction=0)
        self.log_scale.copy_(-deviation.clamp(min=SMALLEST_DEVIATION).log())
        self.shift.copy_(-mean * self.log_scale.exp())


class InvertibleHeads(nn.Module):
    """One square matrix for every head of a vector: d^2/h^2 weights and a cheap determinant (section 3.2.1).

    A head holds neighbouring dimensions or, `interleaved`, every h-th one: of four dimensions in two heads, 01 and 23,
    or 02 and 13. The map of a position is then a block matrix with the same block h times: its determinant is
    det(block)^h.
    """

    def __init__(self, dim: int, heads: int, *, interleaved: bool) -> None:
        super().__init__()
        self.heads = heads
        self.interleaved = interleaved
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(dim // heads, dim // heads)))

    def forward(self, x: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        return self._multiplied(x, self.weight), self._log_det() * condition.mask.sum(1)

    def inverse(self, y: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        return self._multiplied(y, torch.linalg.inv(self.weight)), -self._log_det() * condition.mask.sum(1)

    def _log_det(self) -> Float[Tensor, ""]:
        """log |det J| of one position."""
        return self.heads * torch.linalg.slogdet(self.weight).logabsdet

    def _multiplied(self, x: Sequences, weight: Float[Tensor, "size size"]) -> Sequences:
        # Dimension d is element d mod size of head d // size, or, interleaved, element d // heads of head d mod heads.
        shape = (-1, self.heads) if self.interleaved else (self.heads, -1)
        parts = x.unflatten(-1, shape)
        with torch.autocast(x.device.type, enabled=False):
            equation = "...ih,oi->...oh" if self.interleaved else "...hi,oi->...ho"
            return torch.einsum(equation, parts, weight).flatten(-2)


Pattern = Literal["halves", "alternating", "time"]
"""How a coupling cuts its input in two: first and second half of the dimensions, even and odd dimensions, even and odd
positions (figure 2b)."""


class CouplingSizes(NamedTuple):
    """Sizes of the networks inside the couplings of a flow."""

    memory_dim: int
    ffn_dim: int
    heads: int
    norm_first: bool = True


class AffineCoupling(nn.Module):
    """One part of the input is scaled and shifted by what a network makes of the other part and the source.

    The network is a decoder layer without causal mask (figure 2c) as wide as the part it reads. Scales are
    sigmoid(s + 2) as in Glow; s and the shift are 0 at first.

    With a the part that is read and b the one that is changed: (a, b) -> (a, b * scale(a) + shift(a)). The Jacobian is
    triangular, with 1 for each number of a and scale(a) for each of b on its diagonal, so the network is never
    differentiated for it; and since a passes unchanged, the way back computes the same scale and shift from it.
    """

    def __init__(self, dim: int, sizes: CouplingSizes, pattern: Pattern, *, second: bool) -> None:
        """Args:
        second: change the second part, reading the first; otherwise the first, reading the second.
        """
        super().__init__()
        width = dim if pattern == "time" else dim // 2
        self.pattern: Pattern = pattern
        self.second = second
        same = width == sizes.memory_dim
        self.memory = nn.Identity() if same else nn.Linear(sizes.memory_dim, width, bias=False)
        self.layer = DecoderLayer(width, sizes.ffn_dim, sizes.heads, 0.0, norm_first=sizes.norm_first)
        self.norm = nn.LayerNorm(width) if sizes.norm_first else nn.Identity()
        self.output = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        read, changed = self._split(x)
        log_scale, shift = self._chosen(read, condition)
        # `log_scale` is 0 at padding, so the sum is over real positions.
        return self._join(read, changed * log_scale.exp() + shift), log_scale.sum((1, 2))

    def inverse(self, y: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        read, changed = self._split(y)
        log_scale, shift = self._chosen(read, condition)
        return self._join(read, (changed - shift) * (-log_scale).exp()), -log_scale.sum((1, 2))

    def _chosen(self, read: Part, condition: Condition) -> tuple[Part, Part]:
        """Logarithm of the scale, and shift, of each element of the other part; 0 at padding."""
        # Real lengths are even wherever time is split, so even and odd positions have the same mask.
        mask = (condition.halved() if self.pattern == "time" else condition).mask
        x = read + sinusoids(read.shape[1], read.shape[2]).to(read)
        memory = self.memory(condition.memory)
        states = self.layer(x, mask[:, None, None], memory, condition.memory_mask[:, None, None], causal=False)
        # Padding is multiplied by 0 before the split: there the scale would be sigmoid(2), hence the mask once more.
        raw, shift = (self.output(self.norm(states)).to(read.dtype) * mask[..., None]).chunk(2, dim=-1)
        return F.logsigmoid(raw + 2) * mask[..., None], shift

    def _split(self, x: Sequences) -> tuple[Part, Part]:
        """The part that is read, and the one that is changed."""
        if self.pattern == "time":
            # 0 2 4 and 1 3 5: (rows, length / 2, dim) each. `_join` stacks pairs and flattens: 0 1 2 3 4 5.
            first, second = x[:, ::2], x[:, 1::2]
        elif self.pattern == "alternating":
            first, second = x[..., ::2], x[..., 1::2]
        else:
            first, second = x.chunk(2, dim=-1)
        return (first, second) if self.second else (second, first)

    def _join(self, read: Part, changed: Part) -> Sequences:
        parts = (read, changed) if self.second else (changed, read)
        if self.pattern == "time":
            return torch.stack(parts, dim=2).flatten(1, 2)
        if self.pattern == "alternating":
            return torch.stack(parts, dim=3).flatten(2)
        return torch.cat(parts, dim=2)
