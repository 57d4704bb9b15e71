"""Keys and values of what has been written, for decoding step by step: rows are dropped and copied without moving them.

Rows that translate the same sentence form a group and share its cache: each step appends a cache row for every row of
the group. What makes a row itself is the set of cache rows it sees. So a beam search that lets one hypothesis continue
twice and another not at all changes a mask of a few numbers, not the keys and values, and a sentence that leaves the
batch has its place taken by the last one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

FIRST_ROOM = 16
"""Steps a new cache has room for; more is made by doubling."""


class CacheRows:
    """Which cache rows the rows of each group see; one for the caches of all layers.

    A sentence of beam 2. The first step, before it is doubled, fills cache row 0, which both hypotheses see; the second
    step fills 1 and 2, one for each. Then both survivors continue the second hypothesis: only their rows of the mask
    are copied, cache row 1 is seen by nobody any more, and the third step adds 3 and 4.

        >>> rows, like = CacheRows(groups=1), torch.zeros(1)
        >>> rows.open(like); rows.repeat(2); rows.open(like)
        >>> rows.hidden[0, 0]
        tensor([[0., 0., -inf],
                [0., -inf, 0.]])
        >>> groups = rows.select(torch.tensor([1, 1])); rows.open(like)
        >>> rows.hidden[0, 0]
        tensor([[0., -inf, 0., 0., -inf],
                [0., -inf, 0., -inf, 0.]])

    What holds: a row sees exactly one cache row of each step, so `used` is the number of steps before `repeat` plus
    `group` for each one after it, and a cache row, once written, never moves within its group.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.group = 1
        """Rows in each group."""
        self.used = 0
        self._hidden: Float[Tensor, "groups group room"] | None = None

    def open(self, like: Tensor) -> None:
        """Adds a cache row for every row, seen by that row only; the mask has the type and device of `like`."""
        first, self.used = self.used, self.used + self.group
        if self.group == 1:  # every row is a group of its own and sees all of its cache: no mask
            return
        room = 0 if self._hidden is None else self._hidden.shape[2]
        if room < self.used:
            # Columns from `used` on are room: they hold minus infinity, and `hidden` cuts them off.
            hidden = like.new_full((self.groups, self.group, max(FIRST_ROOM * self.group, 2 * self.used)), -torch.inf)
            if self._hidden is None:  # what was written before `repeat` is seen by all
                hidden[:, :, :first] = 0
            else:
                hidden[:, :, :room] = self._hidden
            self._hidden = hidden
        assert self._hidden is not None
        # The new columns are a (group, group) square for each group, 0 on its diagonal: row i sees cache row first + i.
        self._hidden[:, :, first : self.used] = -torch.inf
        self._hidden[:, :, first : self.used].diagonal(dim1=1, dim2=2).zero_()

    @property
    def hidden(self) -> Float[Tensor, "groups 1 group cache_rows"] | None:
        """Added to attention scores: 0 where a row sees a cache row, otherwise minus infinity; None: all see all."""
        return None if self._hidden is None else self._hidden[:, None, :, : self.used]

    def repeat(self, n: int) -> None:
        """Makes n rows of every row, which all see what it saw."""
        assert self.group == 1, "rows are repeated once at most"
        self.group = n

    def select(self, rows: Int[Tensor, " new_rows"]) -> Int[Tensor, " new_groups"]:
        """Keeps these rows, which come in whole groups; returns the groups they come from."""
        self.groups = len(rows) // self.group
        if self._hidden is not None:
            # (groups, group, room) -> (rows, room) -> (new_rows, room) -> (new_groups, group, room)
            self._hidden = self._hidden.flatten(0, 1)[rows].unflatten(0, (self.groups, self.group))
        # Rows of a group never leave it, so the first one of each tells where the group was.
        return rows[:: self.group] // self.group


class KeyValueCache:
    """One layer's keys and values in the cache rows that a `CacheRows` counts."""

    def __init__(self) -> None:
        self._stored: tuple[Tensor, Tensor] | None = None

    def append(
        self,
        key: Float[Tensor, "groups heads group head_dim"],
        value: Float[Tensor, "groups heads group head_dim"],
        used: int,
    ) -> tuple[Float[Tensor, "groups heads cache_rows head_dim"], Float[Tensor, "groups heads cache_rows head_dim"]]:
        """Fills the cache rows before `used`, which are the last; returns all, as views."""
        first = used - key.shape[2]
        if self._stored is None or self._stored[0].shape[2] < used:
            self._grow(key, first)
        assert self._stored is not None
        # In place: a step writes what it adds, and moves the past only when there is no more room.
        for stored, new in zip(self._stored, (key, value), strict=True):
            stored[:, :, first:used] = new
        keys, values = self._stored
        return keys[:, :, :used], values[:, :, :used]

    def select(self, groups: Int[Tensor, " new_groups"]) -> None:
        """Keeps these groups in this order."""
        if self._stored is not None:
            keys, values = self._stored
            self._stored = keep_groups(keys, groups), keep_groups(values, groups)

    def _grow(self, key: Tensor, first: int) -> None:
        groups, heads, group, head_dim = key.shape
        # Doubled, so a cache row is moved about once on average. `first` is what was full: the rest needs no copy.
        room = max(FIRST_ROOM * group, 2 * first)
        grown = key.new_empty(groups, heads, room, head_dim), key.new_empty(groups, heads, room, head_dim)
        if self._stored is not None:
            for old, new in zip(self._stored, grown, strict=True):
                new[:, :, :first] = old[:, :, :first]
        self._stored = grown


def keep_groups(stored: Tensor, groups: Int[Tensor, " new_groups"]) -> Tensor:
    """These groups (of the first dimension) in this order.

    Those that change place are copied, in place, into what is then a view of `stored`; more groups than there were are
    copied out.

    Sentence 1 of four has left, and the last one has taken its place: one copy, not three.

        >>> stored = torch.tensor([10, 11, 12, 13])
        >>> keep_groups(stored, torch.tensor([0, 3, 2])), stored
        (tensor([10, 13, 12]), tensor([10, 13, 12, 13]))
    """
    count = len(groups)
    if count > len(stored):
        return stored[groups]
    moved = (groups != torch.arange(count, device=groups.device)).nonzero().squeeze(1)
    if len(moved):
        stored[moved] = stored[groups[moved]]  # the right side is a copy first, so groups may change places
    return stored[:count]
