"""How long a target is, for models that decide it before they write (Gu et al. 2018, section 3.4; Zhou et al. 2020,
A.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqdistill.errors import UserError
from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive.configs import LengthKind
from seqdistill.models.nonautoregressive.shared.canvas import masks
from seqdistill.nn.int8 import ProductInput
from seqdistill.nn.losses import exact
from seqdistill.vocabulary.ids import SpecialIds

LENGTH_CLASSES = 256
LENGTH_WEIGHT = 0.1
"""Weight of the length's loss beside the words' (Zhou et al. 2020, A.2)."""


class LengthPredictor(nn.Module):
    """A softmax over lengths, from the mean of the encoder's states. Lengths count no EOS, on either side.

    Ghazvininejad et al. (2019) read it off a special token in front of the source instead.
    """

    def __init__(self, dim: int, kind: LengthKind) -> None:
        super().__init__()
        linear = nn.Linear(dim, LENGTH_CLASSES)
        self.weight, self.bias, self.kind = linear.weight, linear.bias, kind
        self.product_input = ProductInput()
        self.longest = LENGTH_CLASSES - 1 if kind == "absolute" else None

    def forward(
        self, states: Float[Tensor, "rows source dim"], mask: Bool[Tensor, "rows source"]
    ) -> Float[Tensor, "rows classes"]:
        """Logits; `mask` is False where the source is padding."""
        total = states.masked_fill(~mask[..., None], 0).sum(1)
        mean = total / mask.sum(1, keepdim=True)
        return F.linear(self.product_input(mean), self.weight, self.bias)

    def loss(
        self,
        states: Float[Tensor, "batch source dim"],
        mask: Bool[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        index: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Negative log-likelihood of each target's length, in nats, times LENGTH_WEIGHT.

        A model adds it once for each label of the sentence. Divided by the number of labels, the losses of words and of
        lengths are then both means over labels, and the losses of batches add up.

        Args:
            index: line numbers from 0, for the error message.

        Raises:
            UserError: a target whose length has no class.
        """
        # A source of 10 words, offset: class 0 is the length 10 - 128, so class 128 is 10 and a target of 13 has 131.
        classes = lengths - self._shift(mask)
        if self.kind == "offset":
            classes = classes.clamp(0, LENGTH_CLASSES - 1)
        elif len(outside := (classes >= LENGTH_CLASSES).nonzero()):
            row = int(outside[0])
            raise UserError(
                f"line {int(index[row]) + 1} of the training data: {int(lengths[row])} target tokens, but the model's "
                f"length classes (absolute) allow at most {LENGTH_CLASSES - 1}; leave such pairs out with "
                "max_positions, or set length=offset"
            )
        return LENGTH_WEIGHT * F.cross_entropy(self(states, mask), classes, reduction="none")

    def start(
        self,
        states: Float[Tensor, "batch source dim"],
        mask: Bool[Tensor, "batch source"],
        *,
        candidates: int,
        ids: SpecialIds,
    ) -> Canvas:
        """Masks in the `candidates` most probable lengths of each sentence; no length is 0.

        Raises:
            UserError: more candidates than there are lengths for every sentence.
        """
        # Offsets to a source without words are -128 .. 127: 127 of them are lengths of 1 or more. Others have more.
        if not 1 <= candidates < LENGTH_CLASSES // 2:
            raise UserError(
                f"a non-autoregressive decoder tries 1 to {LENGTH_CLASSES // 2 - 1} lengths, but beam is {candidates}"
            )
        lengths = torch.arange(LENGTH_CLASSES, device=mask.device) + self._shift(mask)[:, None]
        log_probs = exact(self(states, mask)).log_softmax(-1).masked_fill(lengths < 1, -torch.inf)
        length_log_probs, best = log_probs.topk(candidates)
        tokens = masks(lengths.gather(1, best).flatten(), ids)
        nothing = torch.zeros(tokens.shape, device=tokens.device)
        # (batch, candidates) -> (batch * candidates): the candidates of a sentence lie side by side.
        return Canvas(tokens, nothing, length_log_probs.flatten(), torch.zeros_like(tokens[:, 0]))

    def _shift(self, mask: Bool[Tensor, "rows source"]) -> Int[Tensor, " rows"]:
        """The length that class 0 stands for."""
        source_lengths = mask.sum(1) - 1
        return source_lengths - LENGTH_CLASSES // 2 if self.kind == "offset" else torch.zeros_like(source_lengths)
