"""Data with several targets for a source: read line by line, prepared, held out, drawn from, and given new targets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.data.retarget import retarget
from seqdistill.data.store import Store
from seqdistill.data.targets import DistinctSources, lines_of
from seqdistill.errors import UserError
from seqdistill.files import read_json
from seqdistill.text.corpus import ParallelCorpus

Rows = list[tuple[str, str, str]]


def rows_of(count: int, *, seed: int) -> Rows:
    """Sources of three words, the reversed words and the upper-cased ones as targets; few sources occur twice."""
    chance = random.Random(seed)
    sources = [" ".join("".join(chance.choices("abcdefgh", k=3)) for _ in range(3)) for _ in range(count)]
    return [(source, source[::-1], f"{source.upper()} {number % 7}") for number, source in enumerate(sources)]


def corpus(name: str, rows: Rows) -> ParallelCorpus:
    return ParallelCorpus.from_rows(name, rows, num_targets=2)


ROWS = rows_of(80, seed=1)
ROWS += [(ROWS[5][0], "another", "OTHER"), ROWS[6], (ROWS[7][0], ROWS[7][1], "new")]
"""Three sources occur again: with two new targets, with the same two, with one that is new."""
TEXTS = {
    "train": corpus("train", ROWS),
    "valid": corpus("valid", rows_of(9, seed=2)),
    "test": corpus("test", rows_of(12, seed=3)),
}


def prepared(out: Path, **changed: Any) -> DataDirectory:
    prepare(**{"out": out, "vocab_size": 50} | TEXTS | changed)
    return DataDirectory.open(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    return prepared(tmp_path_factory.mktemp("data") / "d")


def pairs(store: Store | None) -> list[tuple[str, str]]:
    assert store is not None
    return list(zip(store.sources(), store.targets(), strict=True))


def by_source(text: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The oracle: a dictionary of lists."""
    found: dict[str, list[str]] = {}
    for source, target in text:
        found.setdefault(source, []).append(target)
    return found


def test_every_source_is_paired_with_each_target_and_repeated_pairs_are_dropped(data: DataDirectory) -> None:
    every = [(source, target) for source, *targets in ROWS for target in targets]
    assert pairs(data.train) == list(dict.fromkeys(every)) and len(every) - len(data.train) == 3
    assert pairs(data.test) == list(TEXTS["test"])
    assert data.num_targets == {"train": 2, "valid": 2, "test": 2}
    assert read_json(data.path / "data.json")["filters"]["duplicate"] == 3


def test_distinct_sources_are_those_of_a_dictionary(
    data: DataDirectory, store_of: Callable[[Sequence[tuple[str, str]]], Store]
) -> None:
    chance = random.Random(0)
    for size in (1, 2, 30, 200):
        drawn = [(chance.choice("abcde") * chance.randint(1, 3), str(chance.randint(0, 9))) for _ in range(size)]
        found = DistinctSources(store_of(drawn))
        oracle = by_source(drawn)
        assert list(found) == found[:] == [found[at] for at in range(len(found))] == list(oracle)
        assert list(found.targets()) == list(oracle.values())
        assert found[-1] == list(oracle)[-1] and found[0:2] == list(oracle)[:2]
    with pytest.raises(IndexError):
        found[len(found)]


def test_lines_are_those_of_the_text_also_where_neighbours_are_alike(
    store_of: Callable[[Sequence[tuple[str, str]]], Store],
) -> None:
    lines = [("a", ["x", "y"]), ("a", ["x", "z"]), ("b", ["x", "x"]), ("a", ["y", "y"])]
    store = store_of([(source, target) for source, targets in lines for target in targets])
    found = list(lines_of(store, num_targets=2))
    assert [(line.source, line.targets) for line in found] == lines
    assert [list(line.pairs) for line in found] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [line.targets for line in lines_of(store, num_targets=1)] == [[each] for each in store.targets()]
    gaps = store_of([("a", "x"), ("b", "x"), ("b", "y"), ("a", "z")])
    assert [line.targets for line in lines_of(gaps, num_targets=3)] == [["x"], ["x", "y"], ["z"]]


def test_held_out_sources_keep_all_their_targets(tmp_path: Path) -> None:
    held = prepared(tmp_path / "d", valid=None, valid_size=10)
    found = [(source, len(list(group))) for source, group in groupby(pairs(held.valid), key=lambda pair: pair[0])]
    assert len({source for source, _ in found}) == 10 and sum(count for _, count in found) == len(held.valid or ())
    oracle = by_source(list(dict.fromkeys(TEXTS["train"])))
    assert by_source(pairs(held.valid)) == {source: oracle[source] for source in by_source(pairs(held.valid))}
    assert not by_source(pairs(held.valid)).keys() & by_source(pairs(held.train)).keys()
    counts = read_json(held.path / "data.json")["filters"]
    assert counts["held_out"] == len(held.valid or ()) and counts["near_held_out"] == 0
    assert held.num_targets == {"train": 2, "valid": 2, "test": 2}


def test_one_target_of_each_training_source_is_drawn(data: DataDirectory, tmp_path: Path) -> None:
    every = by_source(pairs(data.train))
    seeds = [prepared(tmp_path / str(seed), one_target=True, seed=seed, tokenizer_from=data.path) for seed in (1, 2)]
    for one in seeds:
        assert list(one.train.sources()) == list(dict.fromkeys(one.train.sources()))
        assert set(one.train.sources()) == every.keys()
        assert all(target in every[source] for source, target in pairs(one.train))
        assert one.num_targets == {"train": 1, "valid": 2, "test": 2}
        assert pairs(one.valid) == pairs(data.valid)
        counts = read_json(one.path / "data.json")["filters"]
        assert counts["other_target"] == len(data.train) - len(one.train) and counts["near_held_out"] == 0
    assert pairs(seeds[0].train) != pairs(seeds[1].train)
    with pytest.raises(UserError, match=r"differs from the data asked for:\n  one_target: True there, False now"):
        prepare(**TEXTS, out=seeds[0].path, tokenizer_from=data.path)
    both = prepared(tmp_path / "both", one_target=True, valid=None, valid_size=9, train_size=30)
    counts = read_json(both.path / "data.json")["filters"]
    assert len(both.train) == 30 and counts["near_held_out"] == 0 and len(by_source(pairs(both.valid))) == 9


def test_the_same_pairs_as_text_of_one_target_are_another_preparation(data: DataDirectory) -> None:
    flat = {name: ParallelCorpus.from_pairs(text.name, list(text)) for name, text in TEXTS.items()}
    with pytest.raises(UserError, match=r"differs from the data asked for:\n  num_targets\.test: 2 there, 1 now"):
        prepare(**flat, out=data.path, vocab_size=50)


def test_new_targets_are_one_for_each_source(data: DataDirectory, tmp_path: Path) -> None:
    sources = list(data.sources_to_decode)
    assert sources == list(by_source(pairs(data.train)))
    lines = [f"new {number}" if number else " " for number in range(len(sources))]
    results = retarget(data, lines, tmp_path / "new")
    new = DataDirectory.open(tmp_path / "new")
    assert pairs(new.train) == list(zip(sources, lines, strict=True))[1:]
    kept, same = len(sources) - 1, len(data.train) - len(sources)
    assert results["filters"] == {"read": len(data.train), "kept": kept, "empty": 1, "same_source": same}
    assert new.num_targets == {"train": 1, "valid": 2, "test": 2}
    assert new.sources_to_decode is new.train
    assert retarget(data, lines, tmp_path / "new") == results


@pytest.mark.parametrize(("surplus", "found"), [(-1, r"only \d+"), (1, "more")])
def test_new_targets_of_another_number(data: DataDirectory, tmp_path: Path, surplus: int, found: str) -> None:
    count = len(data.sources_to_decode)
    message = f"its {count} different training sources need as many new targets, but there are {found}"
    with pytest.raises(UserError, match=message):
        retarget(data, ["abc"] * (count + surplus), tmp_path / "new")
