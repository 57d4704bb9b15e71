"""Batches: every pair once an epoch, never above the budget, and the same stream wherever it is picked up."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.data.batches import Batch, Batches, collate, collate_sources, ordered_batches
from seqdistill.data.store import Store, build_store
from seqdistill.errors import UserError
from seqdistill.text.lines import read_lines
from seqdistill.vocabulary.sentencepiece import EOS, PAD
from seqdistill.vocabulary.vocabularies import train_vocabularies

seeds = st.integers(0, 2**32)
budgets = st.integers(60, 900)
few = settings(max_examples=15, deadline=None)


def one_epoch(batches: Batches) -> list[Batch]:
    found, epoch = [], batches.epoch
    while batches.epoch == epoch:
        found.append(next(batches))
    return found


def lines(batches: Iterable[Batch]) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches]


def take(batches: Batches, count: int) -> list[list[int]]:
    return lines(itertools.islice(batches, count))


def same(one: Batch, other: Batch) -> bool:
    tensors = zip(one[:3], other[:3], strict=True)
    return one.num_labels == other.num_labels and all(torch.equal(a, b) for a, b in tensors)


@few
@given(seed=seeds, budget=budgets, pad_to=st.integers(1, 9))
def test_every_pair_once_an_epoch_within_budget(store: Store, seed, budget, pad_to):
    batches = Batches(store, max_tokens=budget, seed=seed, pad_to=pad_to)
    for epoch in range(2):
        assert batches.epoch == epoch
        expected = batches.batches_per_epoch
        found = one_epoch(batches)
        assert len(found) == expected
        assert sorted(itertools.chain(*lines(found))) == list(range(len(store)))
        for batch in found:
            assert batch.source.numel() <= budget
            assert batch.target.numel() <= budget
            assert batch.source.shape[1] % pad_to == batch.target.shape[1] % pad_to == 0
    assert (batches.epoch, batches.position) == (2, 0)


@few
@given(seed=seeds, budget=budgets, position=st.integers(0, 90), more=st.integers(1, 12))
def test_resumed_anywhere_it_is_the_same_stream(store: Store, seed, budget, position, more):
    whole = take(Batches(store, max_tokens=budget, seed=seed), position + more)
    first = Batches(store, max_tokens=budget, seed=seed)
    assert take(first, position) == whole[:position]
    state = json.loads(json.dumps(first.state()))
    second = Batches(store, max_tokens=budget, seed=seed)
    next(second)
    second.restore(state)
    assert (second.epoch, second.position) == (first.epoch, first.position)
    assert take(second, more) == whole[position:]


@few
@given(seed=seeds, budget=budgets, ranks=st.integers(1, 5), rounds=st.integers(1, 25))
def test_ranks_share_the_stream_of_one(store: Store, seed, budget, ranks, rounds):
    whole = take(Batches(store, max_tokens=budget, seed=seed), ranks * rounds)
    each = [Batches(store, max_tokens=budget, seed=seed, rank=r, ranks=ranks) for r in range(ranks)]
    for k in range(rounds):
        assert [next(batches).index.tolist() for batches in each] == whole[k * ranks : (k + 1) * ranks]
        assert len({(b.epoch, b.position, json.dumps(b.state())) for b in each}) == 1


@few
@given(seed=seeds, before=st.integers(1, 4), after=st.integers(1, 4), rounds=st.integers(0, 40))
def test_any_number_of_ranks_goes_on_from_any_other(store: Store, seed, before, after, rounds):
    whole = take(Batches(store, max_tokens=100, seed=seed), before * rounds + after)
    state = Batches(store, max_tokens=100, seed=seed, ranks=before)
    take(state, rounds)
    found = []
    for rank in range(after):
        batches = Batches(store, max_tokens=100, seed=seed, rank=rank, ranks=after)
        batches.restore(state.state())
        found += take(batches, 1)
    assert found == whole[before * rounds :]


def test_an_update_has_the_same_pairs_however_many_ranks(store: Store):
    """Update i with accumulate=4 on one rank = with 2 on each of two ranks, pair for pair."""
    one = Batches(store, max_tokens=80, seed=3)
    two = [Batches(store, max_tokens=80, seed=3, rank=r, ranks=2) for r in range(2)]
    for _ in range(40):
        alone = Counter(itertools.chain(*take(one, 4)))
        together = Counter(itertools.chain(*(line for batches in two for line in take(batches, 2))))
        assert alone == together


def test_more_ranks_than_batches(store_of: Callable):
    """Two batches an epoch, five ranks: a round runs over several epochs and loses nothing."""
    store = store_of([("a b", "a b")] * 4)
    budget = 2 * int(store.source_lengths[0] + 1)
    each = [Batches(store, max_tokens=budget, seed=1, rank=r, ranks=5) for r in range(5)]
    assert each[0].batches_per_epoch == 2
    rounds = [line for _ in range(2) for batches in each for line in take(batches, 1)]
    assert Counter(itertools.chain(*rounds)) == dict.fromkeys(range(4), 5)
    assert {batches.epoch for batches in each} == {5}


def test_order_depends_on_seed_and_epoch(store: Store):
    def epochs(seed: int) -> list[list[list[int]]]:
        batches = Batches(store, max_tokens=200, seed=seed)
        return [lines(one_epoch(batches)) for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1)[0] != epochs(1)[1]
    assert epochs(1)[0] != epochs(2)[0]
    assert {frozenset(b) for b in epochs(1)[0]} != {frozenset(b) for b in epochs(1)[1]}, "batches are mixed again too"


def test_short_and_long_batches_come_mixed(store: Store):
    """Batch lengths along an epoch show no trend: the rank correlation with the position is small."""
    widths = [batch.target.shape[1] for batch in one_epoch(Batches(store, max_tokens=60, seed=1))]
    assert len(widths) > 50
    assert abs(np.corrcoef(np.argsort(np.argsort(widths)), np.arange(len(widths)))[0, 1]) < 0.4


def test_a_batch_holds_what_the_store_holds(store: Store):
    for batch in one_epoch(Batches(store, max_tokens=100, seed=1)):
        for row, line in enumerate(batch.index.tolist()):
            for tensor, ids in ((batch.source, store.source_ids(line)), (batch.target, store.target_ids(line))):
                assert tensor[row].tolist() == [*ids, EOS] + [PAD] * (tensor.shape[1] - len(ids) - 1)
        assert batch.num_labels == int((batch.target != PAD).sum())


def test_collate_by_hand():
    batch = collate([([7, 8], [9]), ([], [5, 6, 7])], [4, 2])
    assert batch.source.tolist() == [[7, 8, EOS], [EOS, PAD, PAD]]
    assert batch.target.tolist() == [[9, EOS, PAD, PAD], [5, 6, 7, EOS]]
    assert batch.index.tolist() == [4, 2]
    assert batch.num_labels == 6
    assert batch.source.dtype == batch.target.dtype == batch.index.dtype == torch.int64
    assert collate([([7], [8])]).index.tolist() == [0]
    assert collate_sources([[7], [8, 9]], pad_to=4).tolist() == [[7, EOS, PAD, PAD], [8, 9, EOS, PAD]]


def test_padding_is_counted_as_it_is(store: Store):
    for pad_to in (1, 4):
        batches = Batches(store, max_tokens=200, seed=1, pad_to=pad_to)
        reported, found = batches.padding, one_epoch(batches)
        tensors = [tensor for batch in found for tensor in (batch.source, batch.target)]
        cells, padding = sum(t.numel() for t in tensors), sum(int((t == PAD).sum()) for t in tensors)
        assert reported == pytest.approx(padding / cells)


def test_little_padding_on_real_text(shared_data, tmp_path):
    """Multi30k in batches of 4,096 tokens: less than 5 % of the cells are padding."""
    folder = shared_data / "multi30k"
    pairs = list(zip(*(read_lines(folder / f"train.{side}.gz") for side in ("en", "de")), strict=True))
    build_store(pairs, train_vocabularies(pairs, vocab_size=8000), tmp_path / "m.arrow")
    assert Batches(Store.open(tmp_path / "m.arrow"), max_tokens=4096, seed=1).padding < 0.05


def test_pairs_above_the_maximum_length_are_skipped_and_counted(store: Store):
    longer = np.maximum(store.source_lengths, store.target_lengths) + 1
    limit = int(np.median(longer))
    batches = Batches(store, max_tokens=500, seed=1, max_length=limit)
    assert batches.skipped == int((longer > limit).sum()) > 0
    used = sorted(itertools.chain(*lines(one_epoch(batches))))
    assert used == np.flatnonzero(longer <= limit).tolist()


def test_no_pair_short_enough(store: Store):
    with pytest.raises(UserError, match=r"none of its 300 pairs can be used: .* at most 1 tokens"):
        Batches(store, max_tokens=500, seed=1, max_length=1)


def test_a_pair_longer_than_the_budget_is_named(store: Store):
    longer = np.maximum(store.source_lengths, store.target_lengths) + 1
    limit, line = int(longer.max()), int(longer.argmax())
    Batches(store, max_tokens=limit, seed=1)
    with pytest.raises(UserError, match=rf"pair {line + 1} has .* more than a batch of {limit - 1} holds"):
        Batches(store, max_tokens=limit - 1, seed=1)
    with pytest.raises(UserError, match="padded to"):
        Batches(store, max_tokens=limit, seed=1, pad_to=limit + 1)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": 2}, "seed: 1 there, 2 now"), ({"max_tokens": 300}, "max_tokens: 200 there, 300 now")],
)
def test_a_position_in_other_batches_is_refused(store: Store, changed, named):
    state = Batches(store, max_tokens=200, seed=1).state()
    other = Batches(store, **{"max_tokens": 200, "seed": 1} | changed)
    with pytest.raises(UserError, match=f"the checkpoint: .* the batches asked for:\n  {named}"):
        other.restore(state)


def test_a_position_in_another_store_is_refused(store: Store, store_of: Callable, pairs):
    state = Batches(store, max_tokens=200, seed=1).state()
    other = Batches(store_of(pairs[:-1]), max_tokens=200, seed=1)
    with pytest.raises(UserError, match=f"inputs.store: '{store.fingerprint}' there"):
        other.restore(state)


@few
@given(budget=st.integers(1, 400))
def test_ordered_batches_hold_everything_once(store: Store, budget):
    """Above the budget only where a single pair is; from short to long; a list of ids gives the same."""
    found = list(ordered_batches(store, max_tokens=budget))
    assert sorted(itertools.chain(*lines(found))) == list(range(len(store)))
    widest = [max(batch.source.shape[1], batch.target.shape[1]) for batch in found]
    assert widest == sorted(widest)
    assert all(len(b.index) == 1 or width * len(b.index) <= budget for b, width in zip(found, widest, strict=True))
    listed = [(store.source_ids(i), store.target_ids(i).tolist()) for i in range(len(store))]
    again = ordered_batches(listed, max_tokens=budget)
    assert all(same(a, b) for a, b in zip(found, again, strict=True))


def test_ordered_batches_of_nothing(store_of: Callable):
    assert list(ordered_batches([], max_tokens=10)) == []
    assert list(ordered_batches(store_of([]), max_tokens=10)) == []


def test_greedy_batches_are_as_large_as_the_budget_allows(store: Store):
    """The first pair of a batch would not have fitted into the one before."""
    found = list(ordered_batches(store, max_tokens=150))
    longer = np.maximum(store.source_lengths, store.target_lengths) + 1
    for before, after in itertools.pairwise(found):
        assert (len(before.index) + 1) * int(longer[after.index[0]]) > 150
