"""A shared cache is indistinguishable from one that copies every row."""

import pytest
import torch
from torch.nn import functional as F

from seqdistill.nn.cache import FIRST_ROOM, CacheRows, KeyValueCache, keep_groups


class Copied:
    """The oracle: each row has its own keys and values, copied whenever rows are selected."""

    def __init__(self, rows: int) -> None:
        self.keys = torch.zeros(rows, 2, 0, 3)
        self.values = torch.zeros(rows, 2, 0, 3)

    def step(self, query, key, value):
        self.keys, self.values = torch.cat([self.keys, key], 2), torch.cat([self.values, value], 2)
        return F.scaled_dot_product_attention(query, self.keys, self.values)

    def select(self, rows) -> None:
        self.keys, self.values = self.keys[rows], self.values[rows]


def grouped(rows: torch.Tensor, group: int) -> torch.Tensor:
    return rows.unflatten(0, (-1, group)).squeeze(3).transpose(1, 2)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("repeat_at", [0, 1, 3])
def test_shared_cache_equals_copied_cache(group: int, repeat_at: int) -> None:
    """Random steps past the first room, with rows dropped and doubled inside groups and groups leaving in any order."""
    generator = torch.Generator().manual_seed(group + repeat_at)
    cache_rows, cache, oracle, groups = CacheRows(groups=9), KeyValueCache(), Copied(9), 9
    width = 1
    for step in range(2 * FIRST_ROOM + 5):
        if step == repeat_at:
            cache_rows.repeat(group)
            oracle.select(torch.arange(groups).repeat_interleave(group))
            width = group
        query, key, value = torch.randn(3, groups * width, 2, 1, 3, generator=generator)
        cache_rows.open(like=query)
        stored = cache.append(grouped(key, width), grouped(value, width), cache_rows.used)
        read = F.scaled_dot_product_attention(grouped(query, width), *stored, attn_mask=cache_rows.hidden)
        expected = oracle.step(query, key, value)
        torch.testing.assert_close(read.transpose(1, 2).flatten(0, 1), expected[:, :, 0])
        if step % 6 == 5 and groups > 3:
            kept = torch.randperm(groups, generator=generator)[: groups - 1]
        else:
            kept = torch.arange(groups)
        parents = torch.randint(width, (len(kept), width), generator=generator)
        rows = (kept[:, None] * width + parents).flatten()
        groups = len(kept)
        cache.select(cache_rows.select(rows))
        oracle.select(rows)


def test_keeping_groups_moves_only_what_changes_place() -> None:
    stored = torch.arange(10.0).view(5, 2)
    same = keep_groups(stored, torch.tensor([0, 4, 2]))
    assert same.tolist() == [[0, 1], [8, 9], [4, 5]]
    assert same.data_ptr() == stored.data_ptr()
    assert keep_groups(torch.tensor([3, 7]), torch.tensor([1, 1, 0, 0])).tolist() == [7, 7, 3, 3]
    assert keep_groups(torch.tensor([3, 7]), torch.tensor([1, 0])).tolist() == [7, 3]


def test_rows_are_repeated_once() -> None:
    cache_rows = CacheRows(groups=2)
    cache_rows.repeat(3)
    with pytest.raises(AssertionError, match="once at most"):
        cache_rows.repeat(2)
