"""Cheapest ways to turn one sentence into another by deleting and inserting tokens, and what a model learns from them.

The expert of the Levenshtein Transformer (Gu et al. 2019, section 3.2): Levenshtein distance without substitution, so
a cheapest path keeps a longest common subsequence. Several may be equally cheap, and which one is taken decides the
labels. Here both sentences are read from their ends, and each step inserts if a cheapest path can, otherwise deletes
if one can, otherwise keeps: the order of the authors' code. So the last token kept is matched with the earliest place
of the target that leaves as much in common, and so are those before it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seqdistill.vocabulary.ids import SpecialIds

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def edit_path(
    current: Int[Tensor, "rows current"], target: Int[Tensor, "rows target"], *, padding: int
) -> Int[Tensor, "rows current"]:
    """Where in the target each current token is kept; -1 where it is deleted, and at padding.

    Both are right-padded. What the target has besides the kept tokens is inserted.

    All rows are worked on at once: a Python integer holds, side by side, a field of bits for each row, with a bit for
    each target token, and one addition moves the carries of all fields (Crochemore et al. 2001, a bit-vector algorithm
    for longest common subsequences). The loops are over current tokens. Computed on the CPU, wherever the tensors are.

    "b a d" becomes "a b a c" by keeping b and a, deleting d, and inserting an a before and a c after. "a b" becomes
    "b a" by keeping either; read from the ends, inserting the a comes first, so b is kept.

        >>> a, b, c, d = 5, 6, 7, 8
        >>> edit_path(torch.tensor([[b, a, d]]), torch.tensor([[a, b, a, c]]), padding=0).tolist()
        [[1, 2, -1]]
        >>> edit_path(torch.tensor([[a, b]]), torch.tensor([[b, a]]), padding=0).tolist()
        [[-1, 0]]
    """
    if not current.numel():
        return torch.full_like(current, -1)
    same = _equal_tokens(current.cpu().numpy(), target.cpu().numpy(), padding)
    gains = _gains(same)
    kept = _kept(gains, *same.shape[1:])
    # `kept` has a line for each current token and a bit for each place of each row, laid out flat: bit 7 of rows with 5
    # places is place 2 of row 1. Place 0 is before the target, so its token 1 stands at place 2.
    positions = np.full(current.shape, -1)
    step, place = np.divmod(np.flatnonzero(kept), kept.shape[1])
    row, column = np.divmod(place, same.shape[2])
    positions[row, step] = column - 1
    return torch.from_numpy(positions).to(current.device)


def placeholder_counts(
    positions: Int[Tensor, "rows kept"], lengths: Int[Tensor, " rows"]
) -> Int[Tensor, "rows kept+1"]:
    """How many target tokens are missing before each kept token, and after the last; 0 beyond.

    Args:
        positions: where in the target the kept tokens stand, in order; right-padded with -1.
        lengths: tokens of each target.

    Of four tokens, those at 1 and 2 are kept: one is missing before them, none between, one after.

        >>> placeholder_counts(torch.tensor([[1, 2, -1]]), torch.tensor([4])).tolist()
        [[1, 0, 1, 0]]
    """
    # Kept tokens and both ends as bounds: -1, 1, 2, 4, 4 in the example; between two neighbours their difference less 1
    # is missing. Padding gives -1, which becomes 0.
    end = lengths[:, None]
    bounds = torch.cat([torch.full_like(end, -1), torch.where(positions < 0, end, positions), end], dim=1)
    return (bounds.diff(dim=1) - 1).clamp(min=0)


def with_placeholders(
    target: Int[Tensor, "rows target"], positions: Int[Tensor, "rows kept"], ids: SpecialIds
) -> Int[Tensor, "rows target"]:
    """The target with MASK for every token that is not at one of the positions (-1: none), and so to be inserted."""
    rows, width = target.shape
    # Column `width` takes what stands nowhere and is cut off.
    kept = torch.zeros(rows, width + 1, dtype=torch.bool, device=target.device)
    kept.scatter_(1, torch.where(positions < 0, width, positions), True)
    return target.masked_fill(~kept[:, :width] & (target != ids.pad), ids.placeholder)


def random_part(target: Int[Tensor, "rows target"], *, padding: int) -> Bool[Tensor, "rows target"]:
    """Chooses tokens to keep: their number is uniform on 0 .. all of them, and so is the choice; False at padding.

    Stern et al. (2019), section 4. Whole targets are among them, which teach that nothing is missing. Drawn from
    torch's global generator of the device.
    """
    mask = target != padding
    # A random rank for each token, padding last: those of the lowest `count` ranks are kept.
    order = torch.rand(target.shape, device=target.device).masked_fill(~mask, 2).argsort(dim=1).argsort(dim=1)
    lengths = mask.sum(1, keepdim=True)
    # A number from [0, n + 1), cut to a whole one: 0 .. n, each as probable as the others.
    count = (torch.rand(lengths.shape, device=target.device, dtype=torch.float64) * (lengths + 1)).long()
    return order < count


def _equal_tokens(current: np.ndarray, target: np.ndarray, padding: int) -> Bool[np.ndarray, "current rows places"]:
    """Whether a current token is the target token before a place (place 0: none, so False); False at padding."""
    # Padding becomes `beyond` in one and `beyond + 1` in the other, which no token is: so it equals nothing.
    beyond = max(int(current.max()), int(target.max(initial=0))) + 1
    kind = np.min_scalar_type(beyond + 1)  # the narrowest is compared fastest
    found = np.where(current == padding, beyond, current).T.astype(kind, order="C")
    wanted = np.pad(target, ((0, 0), (1, 0)), constant_values=beyond + 1).astype(kind)
    return found[:, :, None] == wanted


def _gains(same: Bool[np.ndarray, "current rows places"]) -> list[int]:
    """For each number of current tokens, from 0: the places of the target where a common subsequence becomes longer.

    Bit `row * places + place` is set where the first `place` target tokens have more in common with those current
    tokens than the first `place - 1`. Place 0 always has its bit, which also stops carries from the row before.

    For b, a, d against "a b a c" (place 4 left, place 0 right):

        level 11110  b at 00100:  11110 + 00100 = 1 00010,  | 11010,  without place 0: 11010, so a gain at place 2
        level 11010  a at 01010:  11010 + 01010 = 1 00100,  | 10000,  without place 0: 10100, gains at places 1 and 3

        >>> current, target = np.array([*"bad"]), np.array([*" abac"])
        >>> [f"{bits:05b}" for bits in _gains(current[:, None, None] == target)]
        ['00001', '00101', '01011', '01011']
    """
    steps, rows, places = same.shape
    every, first = _fields(rows, places)
    # `level` holds the places without a gain, so a row is runs of ones, each ended above by the zero of a gain. With
    # one token more in `current`, each of these gains moves down to the lowest place of its run where the token is
    # found; the run above the last gain has no zero, and gets one there (the sentences have one token more in common).
    level = every ^ first
    gains = [first]
    for line in np.packbits(same.reshape(steps, -1), axis=1, bitorder="little"):
        equal = level & int.from_bytes(line.tobytes(), "little")
        # An addition does it to all runs: where `equal` has a bit, 1 + 1 leaves a zero, and the carry turns ones into
        # zeros up to the old gain, which becomes a one. The ones it ran through come back by `level ^ equal`; at
        # further places of the token 1 + 1 + 1 leaves a one anyway. A carry out of a row ends in place 0 of the next
        # one.
        level = ((level + equal) | (level ^ equal)) & (every ^ first)
        gains.append(every ^ level)
    return gains


def _kept(gains: list[int], rows: int, places: int) -> Bool[np.ndarray, "current bits"]:
    """Traces the path from the ends: for each current token, the bit of the place whose target token it keeps.

    With v tokens in common so far, the path stands at the place of the v-th gain: insertions lead there. Where the
    place is also one without the current token, it is deleted; otherwise kept, and the path goes on to the gain before.
    Fields are mirrored for it, as carries only run upwards: adding 1 above a bit, to all that is no gain, stops at the
    next gain.

    In the example of `_gains`, b is kept at place 2 and a at place 3, and d is deleted:

        >>> current, target = np.array([*"bad"]), np.array([*" abac"])
        >>> _kept(_gains(current[:, None, None] == target), rows=1, places=5).astype(int).tolist()
        [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    """
    every, first = _fields(rows, places)
    size = -(-rows * places // 8)
    spare = 8 * size - rows * places

    def mirrored(bits: int) -> int:
        return int.from_bytes(bits.to_bytes(size, "little").translate(_MIRRORED), "big") >> spare

    # One bit a row, `place`, says where its path stands. Mirrored, the lowest bit of a row is its last place, so a
    # carry from there stops at the highest gain, and one from above a kept place at the next gain below. Place 0 is a
    # gain with any number of tokens: it is never kept, and no carry passes it.
    *before, last = map(mirrored, gains)
    place = ((every ^ last) + first) & last
    lines = []
    for gain in reversed(before):
        kept = place & ~gain  # no gain without the current token, so this token is what made it one
        place = (place & gain) | (((every ^ gain) + (kept << 1)) & gain)
        lines.append((kept << spare).to_bytes(size, "big"))  # mirrored back
    packed = np.frombuffer(b"".join(reversed(lines)), np.uint8).reshape(len(lines), size)
    return np.unpackbits(packed, axis=1, count=rows * places).view(bool)


def _fields(rows: int, places: int) -> tuple[int, int]:
    """All bits of all rows, and the lowest bit of each row: 111111 and 001001 for two rows of three places."""
    every = (1 << rows * places) - 1
    return every, every // ((1 << places) - 1)
