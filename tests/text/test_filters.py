"""Filters: each reason by hand, and duplicates against Python's own set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.text import filters as module
from seqdistill.text.corpus import SentencePair
from seqdistill.text.filters import FilteredPairs, Filters, SeenHashes


def run(pairs, filters=None, held_out=()):
    stream = FilteredPairs([SentencePair(*pair) for pair in pairs], filters or Filters(), held_out_sources=held_out)
    return list(stream), {key: count for key, count in stream.counts.items() if count}


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("", "Hund"), "empty"),
        (("dog", " \t\u00a0"), "empty"),
        (("a " * 250 + "b", "b " * 250), "too_long"),
        (("b " * 250, "a " * 250 + "b"), "too_long"),
        (("x" * 91, "y" * 10), "ratio"),
        (("x" * 10, "y" * 91), "ratio"),
        (("x" * 46, "y"), "ratio"),
        (("dog ", "dog"), "copy"),
        (("The dog, 17!", "Hund"), "test_overlap"),
    ],
)
def test_each_reason(pair, reason):
    kept, counts = run([pair, ("fine", "gut")], held_out=["the {n} dog"])
    assert kept == [("fine", "gut")]
    assert counts == {"read": 2, "kept": 1, reason: 1}


@pytest.mark.parametrize(
    "pair", [("a " * 250, "b " * 250), ("x" * 90, "y" * 10), ("x" * 45, "y"), ("dog", "Dog"), ("Aus", "Ausgeschaltet")]
)
def test_at_the_limit_a_pair_stays(pair):
    assert run([pair])[1] == {"read": 1, "kept": 1}


def test_the_first_of_the_duplicates_stays():
    pairs = [("a b", "c"), ("a b", "d"), (" a b", "c "), ("x", "y"), ("a b", "c")]
    kept, counts = run(pairs)
    assert kept == [("a b", "c"), ("a b", "d"), ("x", "y")]
    assert counts == {"read": 5, "kept": 3, "duplicate": 2}


def test_targets_of_one_source_are_no_duplicates_unless_they_are_the_same():
    pairs = [("status", "Status"), ("status", "Statut"), ("status", "Status"), ("mode", "Modus"), ("mode", "mode")]
    kept, counts = run(pairs)
    assert kept == [*pairs[:2], pairs[3]]
    assert counts == {"read": 5, "kept": 3, "duplicate": 1, "copy": 1}


def test_duplicates_and_copies_can_stay():
    pairs = [("a", "b"), ("a", "b"), ("a", "a")]
    assert run(pairs, Filters(keep_duplicates=True, keep_copies=True))[0] == pairs


def test_a_pass_counts_anew():
    stream = FilteredPairs([SentencePair("a", "b"), SentencePair("a", "b")], Filters())
    assert list(stream) == list(stream)
    assert stream.counts["read"] == 2 and stream.counts["duplicate"] == 1


def test_counts_add_up_over_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 7)
    pairs = [(f"source {n % 40}", "" if n % 11 == 0 else f"target {n % 40}") for n in range(200)]
    kept, counts = run(pairs)
    wanted = dict.fromkeys(pair for pair in pairs if pair[1])
    assert kept == list(wanted)
    assert counts["read"] == 200 and sum(counts.values()) == 400
    assert counts["empty"] == sum(not pair[1] for pair in pairs)


def test_no_pairs():
    kept, counts = run([])
    assert kept == [] and counts == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=12))
def test_the_set_of_hashes_is_a_set(calls):
    seen, oracle = SeenHashes(), set()
    for call in calls:
        new = seen.add(np.array(call, dtype=np.uint64))
        assert len(new) == len(call)
        for value, fresh in zip(call, new, strict=True):
            assert fresh == (value not in oracle)
            oracle.add(value)


def test_the_set_of_hashes_takes_8_bytes_each():
    seen = SeenHashes()
    rng = np.random.default_rng(0)
    for _ in range(50):
        seen.add(rng.integers(0, 2**63, 2_000).astype(np.uint64))
    assert sum(run.nbytes for run in seen._runs) == 8 * 50 * 2_000
    assert len(seen._runs) < 20
