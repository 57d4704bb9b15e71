"""A generative flow over padded sequences that reads a source (Ma et al. 2019, section 3.2; Kingma and Dhariwal 2018).

It is made of the layers of `flow_layers` and has what they have: `forward` towards noise, `inverse` back, and the same
invariants. Log-determinants of layers in sequence add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqdistill.nn.flow_layers import (
    ActNorm,
    AffineCoupling,
    Condition,
    CouplingSizes,
    InvertibleHeads,
    LogDets,
    Pattern,
    Sequences,
)


def flow_step(dim: int, sizes: CouplingSizes, heads: int, *, time: bool) -> list[nn.Module]:
    """The layers of one step of a flow (figure 2a, and the authors' code, which has the details).

    Twice: ActNorm, invertible heads, then couplings in pairs, each part changed given the other; a pair for halves, one
    for alternating dimensions and, if `time`, one for alternating positions, with an ActNorm between pairs.
    """
    patterns: tuple[Pattern, ...] = ("halves", "alternating", "time") if time else ("halves", "alternating")
    layers: list[nn.Module] = []
    for interleaved in (False, True):
        layers += [ActNorm(dim), InvertibleHeads(dim, heads, interleaved=interleaved)]
        for pattern in patterns:
            layers += [ActNorm(dim)] if pattern != "halves" else []
            layers += [AffineCoupling(dim, sizes, pattern, second=second) for second in (True, False)]
    return layers


class MultiScaleFlow(nn.Module):
    """Steps at several scales (section 3.2.2; Dinh et al. 2017).

    After each level but the last one, a coupling changes the second half of the dimensions given the first; the second
    half is then done, and of the first, two neighbouring positions become one of full width ("squeeze").

    Three levels, 4 positions of 8 dimensions: level 1 works on 4 x 8, of which 4 x 4 are done and 4 x 4 become 2 x 8;
    level 2 on these, of which 2 x 4 are done and 2 x 4 become 1 x 8; level 3 on these. On the way out the halves that
    are done are put beside what comes back from the level below: 1 x 8 is unsqueezed to 2 x 4, with 2 x 4 beside it
    2 x 8, that to 4 x 4, and with 4 x 4 beside it 4 x 8 again. So what goes in and what comes out have one shape.
    """

    def __init__(self, dim: int, steps: Sequence[int], sizes: CouplingSizes, *, heads: int) -> None:
        """Args:
        dim: of the latent variables; divisible by 4 and by twice the heads.
        steps: of each level.
        heads: of the invertible linear layers.
        """
        super().__init__()
        levels = []
        for level, count in enumerate(steps, 1):
            inner = level < len(steps)
            layers = [layer for _ in range(count) for layer in flow_step(dim, sizes, heads, time=inner)]
            layers += [AffineCoupling(dim, sizes, "halves", second=True)] if inner else []
            levels.append(nn.ModuleList(layers))
        self.levels = nn.ModuleList(levels)

    @property
    def unit(self) -> int:
        """Real lengths must be multiples of it."""
        return 2 ** (len(self.levels) - 1)

    def forward(self, x: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        mask, total, done = condition.mask[..., None], x.new_zeros(len(x)), []
        x = x * mask
        for number, level in enumerate(self.levels, 1):
            for layer in level:  # type: ignore[attr-defined]
                x, log_det = layer(x, condition)
                total = total + log_det
            if number < len(self.levels):
                x, rest = x.chunk(2, dim=-1)
                done.append(rest)
                # (rows, length, dim / 2) -> (rows, length / 2, dim)
                x, condition = squeeze(x), condition.halved()
        # From the inside out: the level that was cut last is put together first. `mask` is that of the first level.
        while done:
            x = torch.cat([unsqueeze(x), done.pop()], dim=-1)
        return x * mask, total

    def inverse(self, y: Sequences, condition: Condition) -> tuple[Sequences, LogDets]:
        mask, total, waiting = condition.mask[..., None], y.new_zeros(len(y)), []
        y = y * mask
        # First down, through the cuts and squeezes that `forward` undid at its end, then up through the levels.
        for _ in range(len(self.levels) - 1):
            y, rest = y.chunk(2, dim=-1)
            waiting.append((rest, condition))
            y, condition = squeeze(y), condition.halved()
        for level in reversed(self.levels):
            for layer in reversed(level):  # type: ignore[arg-type]
                y, log_det = layer.inverse(y, condition)
                total = total + log_det
            if waiting:
                rest, condition = waiting.pop()
                y = torch.cat([unsqueeze(y), rest], dim=-1)
        return y * mask, total

    def log_prob(self, x: Sequences, condition: Condition) -> Float[Tensor, " rows"]:
        """Natural log-density of real positions, if `forward` makes of them independent standard normals."""
        # log p(x) = log N(noise; 0, 1) + log |det J|. The noise is 0 at padding; the constant has to leave padding out.
        noise, log_det = self(x, condition)
        constant = math.log(2 * math.pi) * x.shape[-1] * condition.mask.sum(1)
        return log_det - (noise.square().sum((1, 2)) + constant) / 2

    @torch.no_grad()
    def fit(self, x: Sequences, condition: Condition) -> None:
        """Data-dependent initialisation: each ActNorm is fitted to what reaches it."""
        # A hook runs before its ActNorm does: each is fitted to what the layers before it make, once these are fitted.
        # One pass fits all.
        norms = [module for module in self.modules() if type(module) is ActNorm]
        hooks = [norm.register_forward_pre_hook(lambda norm, inputs: ActNorm.fit(norm, *inputs)) for norm in norms]  # pyright: ignore[reportArgumentType]
        try:
            self(x, condition)
        finally:
            for hook in hooks:
                hook.remove()


def squeeze(x: Float[Tensor, "rows length dim"]) -> Float[Tensor, "rows half double"]:
    """Joins every two neighbouring positions into one, twice as wide.

    >>> squeeze(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
    tensor([[[0., 1., 2., 3.]]])
    """
    return x.reshape(len(x), x.shape[1] // 2, 2 * x.shape[2])


def unsqueeze(x: Float[Tensor, "rows half double"]) -> Float[Tensor, "rows length dim"]:
    """The inverse of `squeeze`."""
    return x.reshape(len(x), x.shape[1] * 2, x.shape[2] // 2)
