"""Splits: exact sizes, the same each time, and nothing like a held-out text left in training."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.errors import UserError
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.splits import connected, drawn, hash64, hold_out, one_target_each, source_key


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Zone 1", "zone 27!"),
        ("Turn on {name}", "Turn on {device_id}."),
        ("Could not reach %s", "Could not reach %(host)s"),
        ("<b>Save</b> all", "Save all"),
        ("Wi-Fi", "WiFi"),
        ("Straße", "STRAßE"),
    ],
)
def test_near_identical_texts_share_a_key(one, two):
    assert source_key(one) == source_key(two)


@pytest.mark.parametrize(
    ("one", "two"), [("Turn on", "Turn off"), ("12", "13"), ("{a}", "{b}"), ("100 % sure", "sure thing")]
)
def test_different_texts_do_not(one, two):
    assert source_key(one) != source_key(two)


def test_the_hash_is_blake2b():
    """The digest of RFC 7693's algorithm for no input, 8 bytes, no salt, computed with coreutils' b2sum -l 64."""
    assert hash64("").to_bytes(8, "little").hex() == "e4a6a0577479b2b4"
    assert hash64("", seed=1) != hash64("")


RNG = random.Random(0)
NOUNS = ["".join(RNG.choices("abcdefgh", k=6)) for _ in range(60)]
ROWS = [
    (f"{RNG.choice(['Set', 'set the'])} {RNG.choice(NOUNS)} {{x}} {RNG.randint(1, 9)}", f"Ziel {n}") for n in range(600)
]


@pytest.fixture
def corpus():
    return ParallelCorpus.from_pairs("made-up", ROWS)


def test_sizes_order_and_no_near_copies(corpus):
    splits = hold_out(corpus, valid=10, test=20)
    train, valid, test = (list(part) for part in splits)
    assert (len(valid), len(test)) == (10, 20)
    keys = [{source_key(pair.source) for pair in part} for part in (train, valid, test)]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert len(keys[2]) == 20, "a held-out set has no near-copies within"
    held = keys[1] | keys[2]
    assert train == [row for row in ROWS if source_key(row[0]) not in held], "all else stays, in its order"
    assert all(part == sorted(part, key=ROWS.index) for part in (valid, test))


def test_the_same_seed_gives_the_same_split(corpus):
    one, two, other = (hold_out(corpus, valid=10, test=20, seed=seed) for seed in (1, 1, 2))
    assert [list(part) for part in one] == [list(part) for part in two]
    assert list(one.test) != list(other.test)


def test_nothing_held_out_is_none(corpus):
    splits = hold_out(corpus, valid=5, test=0)
    assert splits.test is None and len(list(splits.valid)) == 5


def test_groups_stay_together(corpus):
    groups = [target[-1] + target[-2] for _, target in ROWS]
    splits = hold_out(corpus, valid=20, test=20, groups=groups)
    own = [{pair.target[-1] + pair.target[-2] for pair in part} for part in splits]
    assert not own[0] & own[1] and not own[0] & own[2]
    keys = [{source_key(pair.source) for pair in part} for part in splits]
    assert not keys[0] & (keys[1] | keys[2])


def test_large_groups_stay_in_training():
    rows = [(f"{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}", "t") for n in range(100)]
    groups = ["large" if n >= 20 else str(n) for n in range(100)]
    splits = hold_out(ParallelCorpus.from_pairs("c", rows), valid=0, test=20, groups=groups)
    assert list(splits.test) == rows[:20]
    with pytest.raises(UserError, match="only 20 pairs"):
        hold_out(ParallelCorpus.from_pairs("c", rows), valid=1, test=20, groups=groups)


def test_a_held_out_source_takes_all_its_targets():
    """Also those of other lines with the same source; near-copies of it are dropped, as ever."""
    rows = [(f"The {noun} is {n}", f"{noun} A{n}", f"{noun} B{n}") for n, noun in enumerate(NOUNS)]
    rows += [("The same", f"A{n}", f"B{n}") for n in range(3)] + [("the SAME", "A", "B")]
    corpus = ParallelCorpus.from_rows("made-up", rows, num_targets=2)
    pairs = list(corpus)
    for size in (10, 61):
        splits = hold_out(corpus, valid=size - 5, test=5)
        parts = [list(part) for part in splits]
        assert all(part.num_targets == 2 for part in splits)
        for part, number in ((parts[1], size - 5), (parts[2], 5)):
            held = {pair.source for pair in part}
            assert len(held) == number and part == [pair for pair in pairs if pair.source in held]
        held_keys = {source_key(pair.source) for part in parts[1:] for pair in part}
        assert parts[0] == [pair for pair in pairs if source_key(pair.source) not in held_keys]
    assert len(parts[0]) == 0 and sum(map(len, parts)) == len(pairs) - 2


def test_one_target_of_each_source_every_one_as_often():
    rows = [("a", "a1"), ("b", "b1"), ("a", "a2"), ("c", "c1"), ("a", "a3"), ("b", "b2")]
    corpus = ParallelCorpus.from_pairs("made-up", rows)
    counts = dict.fromkeys(rows, 0)
    for seed in range(600):
        part, left = one_target_each(corpus, seed=seed)
        found = list(part)
        assert found == list(part) == sorted(found, key=rows.index) and left == 3
        assert sorted(pair.source for pair in found) == ["a", "b", "c"] and part.num_targets == 1
        for pair in found:
            counts[pair] += 1
    for pair, count in counts.items():
        share = 1 / sum(source == pair[0] for source, _ in rows)
        assert count == pytest.approx(600 * share, abs=4.5 * (600 * share * (1 - share)) ** 0.5 + 1e-9)
    assert list(one_target_each(corpus, seed=5)[0]) == list(one_target_each(corpus, seed=5)[0])


def test_a_drawn_part_knows_its_targets():
    corpus = ParallelCorpus.from_rows("r", [("a", "x", "y")], num_targets=2)
    assert drawn(corpus, 1, seed=1)[0].num_targets == 2


def test_too_few_sources(corpus):
    with pytest.raises(
        UserError, match=r"made-up: 700 pairs were to be held out .* but only \d+ pairs .* hold out fewer"
    ):
        hold_out(corpus, valid=400, test=300)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefghijkl"), max_size=3), max_size=12))
def test_connected_groups_by_brute_force(rows):
    """Against joining overlapping sets until none overlap."""
    groups = [({number}, set(keys)) for number, keys in enumerate(rows)]
    merged = True
    while merged:
        merged = False
        for one in groups:
            for two in groups:
                if one is not two and one[1] & two[1]:
                    groups = [each for each in groups if each is not one and each is not two]
                    groups.append((one[0] | two[0], one[1] | two[1]))
                    merged = True
                    break
            if merged:
                break
    found = connected(rows)
    assert {frozenset(n for n, root in enumerate(found) if root == own) for own in found} == {
        frozenset(members) for members, _ in groups
    }
