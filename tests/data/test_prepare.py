"""Data directories: what is in them, how they are refused, and that a kill at any moment changes nothing."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_text import make_pairs

from seqdistill.data import store as store_module
from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.data.retarget import retarget
from seqdistill.data.store import build_store
from seqdistill.errors import UserError
from seqdistill.seals import write_sealed
from seqdistill.text.corpus import ParallelCorpus
from seqdistill.text.filters import Filters
from seqdistill.vocabulary.vocabularies import train_vocabularies


@pytest.fixture(scope="module")
def texts() -> dict[str, ParallelCorpus]:
    sizes = {"train": 400, "valid": 20, "test": 30}
    return {
        name: ParallelCorpus.from_pairs(name, make_pairs(size, seed=seed))
        for seed, (name, size) in enumerate(sizes.items())
    }


def prepared(texts, out: Path, **changed) -> DataDirectory:
    prepare(**{"out": out, "vocab_size": 60} | texts | changed)
    return DataDirectory.open(out)


@pytest.fixture(scope="module")
def data(texts, tmp_path_factory) -> DataDirectory:
    return prepared(texts, tmp_path_factory.mktemp("data") / "d")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copied(data: DataDirectory, folder: Path) -> Path:
    shutil.copytree(data.path, folder)
    return folder


def test_every_split_is_stored(texts, data: DataDirectory):
    assert data.valid is not None and data.test is not None
    assert list(zip(data.valid.sources(), data.valid.targets(), strict=True)) == list(texts["valid"])
    assert list(zip(data.test.sources(), data.test.targets(), strict=True)) == list(texts["test"])
    held = {source for name in ("valid", "test") for source in texts[name].sources()}
    kept = list(dict.fromkeys(pair for pair in texts["train"] if pair[0] not in held))
    assert list(zip(data.train.sources(), data.train.targets(), strict=True)) == kept
    assert sorted(content(data.path)) == [
        "data.json", "test.arrow", "tokenizer/joint.model", "tokenizer/seqdistill.json", "train.arrow", "valid.arrow",
    ]  # fmt: skip


def test_results_count_what_was_dropped_and_why(tmp_path):
    good = make_pairs(50, seed=5)
    bad = [("", "abc"), ("abc " * 30, "abc " * 30), ("a", "a" * 90), ("abc def", "abc def"), good[0]]
    valid = ParallelCorpus.from_pairs("valid", [good[1]])
    results = prepare(
        train=ParallelCorpus.from_pairs("train", good + bad),
        valid=valid,
        test=None,
        out=tmp_path / "d",
        vocab_size=40,
        filters=Filters(max_length=20),
    )
    counts = results["filters"]
    dropped = {"empty": 1, "too_long": 1, "ratio": 1, "copy": 1, "test_overlap": 1, "duplicate": 1}
    assert counts == {"read": 55, "kept": 49, **dropped, "held_out": 0, "near_held_out": 0}
    assert results["splits"]["train"]["pairs"] == 49
    assert results["vocabulary"] == {"source": 40, "target": 40}
    assert DataDirectory.open(tmp_path / "d").test is None


def test_validation_is_held_out_of_what_passes_the_filters(texts, tmp_path):
    found = [prepared(texts, tmp_path / str(seed), valid=None, valid_size=25, seed=seed) for seed in (1, 2)]
    for data in found:
        assert data.valid is not None and len(data.valid) == 25
        assert not set(data.valid.sources()) & set(data.train.sources())
        assert {*data.valid.sources(), *data.train.sources()} <= {source.strip() for source in texts["train"].sources()}
    assert set(found[0].valid.sources()) != set(found[1].valid.sources())


def test_a_part_of_the_training_pairs_is_drawn_in_their_order(texts, data: DataDirectory, tmp_path):
    every = list(zip(data.train.sources(), data.train.targets(), strict=True))
    drawn = []
    for seed in (1, 2):
        part = prepared(texts, tmp_path / str(seed), train_size=40, tokenizer_from=data.path, seed=seed)
        drawn.append(list(zip(part.train.sources(), part.train.targets(), strict=True)))
        counts = json.loads((part.path / "data.json").read_text())["filters"]
        assert counts["not_drawn"] == len(every) - 40 and counts["near_held_out"] == 0
    for pairs in drawn:
        places = [every.index(pair) for pair in pairs]
        assert len(places) == 40 and places == sorted(set(places))
    assert drawn[0] != drawn[1]
    with pytest.raises(
        UserError, match=rf"{len(every) + 1} training pairs were to be drawn, but only {len(every)} are"
    ):
        prepared(texts, tmp_path / "3", train_size=len(every) + 1)


def test_sources_are_cut_everywhere_and_targets_in_training_only(tmp_path):
    pairs = [(f"{pair[0]} one two", f"{pair[1]} three four") for pair in make_pairs(60, seed=3)]
    parts = {"train": pairs[:40], "valid": pairs[40:50], "test": pairs[50:]}
    texts = {name: ParallelCorpus.from_pairs(name, part) for name, part in parts.items()}
    data = prepared(texts, tmp_path / "d", vocab_size=40, cut_source=2, cut_target=1)
    assert data.valid is not None and data.test is not None
    assert all(len(line.split()) <= 2 for store in (data.train, data.valid, data.test) for line in store.sources())
    assert all(len(line.split()) == 1 for line in data.train.targets())
    assert list(data.test.targets()) == [target for _, target in pairs[50:]]


def test_without_validation_text(texts, tmp_path):
    assert prepared(texts, tmp_path / "d", valid=None).valid is None


def test_separate_vocabularies(texts, tmp_path):
    data = prepared(texts, tmp_path / "d", joint=False, lowercase=True, kind="unigram", vocab_size=50)
    assert not data.tokenizers.joint and data.tokenizers.source.lowercase
    assert data.train.target_ids(0).tolist() == data.tokenizers.target.encode(data.train.target_text(0))


def test_the_tokenizer_of_another_directory(texts, data: DataDirectory, tmp_path):
    other = prepared(texts, tmp_path / "d", train=texts["test"], test=None, tokenizer_from=data.path)
    assert other.tokenizers.fingerprint == data.tokenizers.fingerprint


def test_no_limit_of_ratio_is_null_in_the_description(tmp_path):
    train = ParallelCorpus.from_pairs("train", make_pairs(50, seed=5))
    options = {"valid": None, "test": None, "out": tmp_path / "d", "vocab_size": 40}
    first = prepare(train=train, filters=Filters(max_ratio=math.inf), **options)
    assert json.loads((tmp_path / "d" / "data.json").read_text())["record"]["options"]["filters"]["max_ratio"] is None
    assert prepare(train=train, filters=Filters(max_ratio=math.inf), **options) == first


def test_asked_again_it_is_there(texts, data: DataDirectory, tmp_path, monkeypatch):
    out = copied(data, tmp_path / "d")
    monkeypatch.setattr(store_module, "encode", None)
    before = content(out)
    first = prepare(**texts, out=out, vocab_size=60)
    assert content(out) == before
    assert first["splits"]["train"]["pairs"] == len(data.train)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"vocab_size": 61}, "tokenizer.vocab_size: 60 there, 61 now"),
        ({"filters": Filters(max_length=9)}, "filters.max_length: 250 there, 9 now"),
        ({"test": None}, "inputs.test: "),
        ({"train": ParallelCorpus.from_pairs("train", [("a", "b")])}, "inputs.train: "),
    ],
)
def test_another_preparation_in_the_directory_is_refused(texts, data: DataDirectory, tmp_path, changed, named):
    out = copied(data, tmp_path / "d")
    before = content(out)
    with pytest.raises(UserError, match=f"differs from the data asked for:\n(.*\n)*  {named}"):
        prepare(**{"out": out, "vocab_size": 60} | texts | changed)
    assert content(out) == before


def test_nothing_left_says_what_dropped_it(tmp_path):
    train = ParallelCorpus.from_pairs("mine.tsv", [("", "abc"), ("abc", ""), ("abc", "abc"), ("a b c d", "e f g h")])
    with pytest.raises(UserError, match=r"mine\.tsv: no training pair is left of 4 .*2 empty, 1 too_long, 1 copy"):
        prepare(train=train, valid=None, test=None, out=tmp_path / "d", filters=Filters(max_length=3))
    assert not (tmp_path / "d" / "train.arrow").exists()


def test_an_empty_validation_set(texts, tmp_path):
    with pytest.raises(UserError, match=r"none: no sentence pair for valid .*expected at least one"):
        prepared(texts, tmp_path / "d", valid=ParallelCorpus.from_pairs("none", []))
    assert not (tmp_path / "d" / "valid.arrow").exists()


def test_validation_given_twice(texts, tmp_path):
    with pytest.raises(UserError, match=r"5 training pairs were to be held out .*\(valid\); leave out one"):
        prepared(texts, tmp_path / "d", valid_size=5)


def test_no_data_directory(tmp_path):
    with pytest.raises(UserError, match=r"no data directory .*`seqdistill prepare` makes one"):
        DataDirectory.open(tmp_path / "nowhere")


def test_a_tokenizer_of_another_preparation(texts, data: DataDirectory, tmp_path):
    out = copied(data, tmp_path / "d")
    shutil.rmtree(out / "tokenizer")
    train_vocabularies(texts["train"], vocab_size=50).save(out / "tokenizer")
    with pytest.raises(UserError, match=r"tokenizer: is not the tokenizer that the text beside it was encoded with"):
        DataDirectory.open(out)


def test_another_store_of_the_same_tokenizer(texts, data: DataDirectory, tmp_path):
    out = copied(data, tmp_path / "d")
    build_store(texts["valid"], data.tokenizers, out / "train.arrow")
    with pytest.raises(
        UserError, match=r"train\.arrow: expected a token store of [\d,]+ bytes, found [\d,]+; copy the"
    ):
        DataDirectory.open(out)


@pytest.mark.parametrize("name", ["train.arrow", "valid.arrow", "test.arrow", "tokenizer/joint.model"])
def test_a_missing_part(data: DataDirectory, tmp_path, name):
    out = copied(data, tmp_path / "d")
    (out / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: (is gone|expected a token store of .* found 0)"):
        DataDirectory.open(out)


@pytest.mark.parametrize("splits", [3, {"train": 3}, {}])
def test_an_altered_description(data: DataDirectory, tmp_path, splits):
    out = copied(data, tmp_path / "d")
    description = json.loads((out / "data.json").read_text())
    (out / "data.json").write_text(json.dumps(description | {"splits": splits}))
    with pytest.raises(UserError, match=r"data\.json: was altered .*; copy the whole folder again"):
        DataDirectory.open(out)


@pytest.mark.parametrize("description", ["[]", '{"request": {"text": {}}, "splits": {}}'])
def test_data_of_the_earlier_edition(data: DataDirectory, tmp_path, description):
    out = copied(data, tmp_path / "d")
    (out / "data.json").write_text(description)
    with pytest.raises(UserError, match=r"data\.json: has no seal: altered, or written by an earlier edition"):
        DataDirectory.open(out)


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_no_bit_of_a_store_is_believed_unread(data: DataDirectory, tmp_path, name):
    """Of each eighth byte one bit: Arrow never sees the file, which would end the interpreter for some of them."""
    out = copied(data, tmp_path / "d")
    path = out / f"{name}.arrow"
    whole = path.read_bytes()
    for at in range(0, len(whole), 8):
        altered = bytearray(whole)
        altered[at] ^= 1 << at // 8 % 8
        path.write_bytes(altered)
        opened = DataDirectory.open(out)
        with pytest.raises(UserError, match=rf"{name}\.arrow: was cut or altered since it was written"):
            getattr(opened, name)


def test_a_finished_part_of_a_preparation_that_was_cut_off_is_checked(texts, data: DataDirectory, tmp_path):
    """Its text would otherwise be described as it is now, and believed ever after."""
    out = copied(data, tmp_path / "d")
    state = json.loads((out / "data.json").read_text())
    del state["fingerprint"], state["vocabulary"], state["seal"]
    write_sealed(out / ".prepare.json", state)
    (out / "data.json").unlink()
    path = out / "valid.arrow"
    path.write_bytes(path.read_bytes()[:-9] + b"#" + path.read_bytes()[-8:])
    with pytest.raises(UserError, match=r"valid\.arrow: was cut or altered"):
        prepared(texts, out)


# Killed and continued


@pytest.mark.parametrize("what", ["prepare", "retarget"])
def test_killed_anywhere_and_continued_gives_the_same_bytes(tmp_path, what):
    """SIGKILL before or after every third rename, sync and record batch, and the last; then the same call again."""
    script = Path(__file__).with_name("killed_at_every_moment.py")
    environment = os.environ | {"PYTHONPATH": str(Path(store_module.__file__).parents[2])}
    command = [sys.executable, str(script), what, str(tmp_path), "3"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    expected = content(tmp_path / "whole")
    all_left = list(tmp_path.glob("left-*"))
    assert len(all_left) > 8
    for left in all_left:
        stores = [path for path in left.glob("*.arrow") if not path.name.startswith(".")]
        assert all(path.read_bytes() == expected[path.name] for path in stores), "nothing is there by half"
        if not (left / "data.json").exists():
            with pytest.raises(UserError, match=r"cut off; run the same|no data directory"):
                DataDirectory.open(left)
        assert content(tmp_path / left.name.replace("left", "cut")) == expected


# New targets


def test_retarget(data: DataDirectory, tmp_path):
    lines = [target.upper() if i % 4 else " " for i, target in enumerate(data.train.targets())]
    results = retarget(data, iter(lines), tmp_path / "new")
    new = DataDirectory.open(tmp_path / "new")
    expected = [(s, t) for s, t in zip(data.train.sources(), lines, strict=True) if t.strip()]
    assert list(zip(new.train.sources(), new.train.targets(), strict=True)) == expected
    empty = len(data.train) - len(expected)
    assert results["filters"] == {"read": len(data.train), "kept": len(expected), "empty": empty}
    assert new.tokenizers.fingerprint == data.tokenizers.fingerprint
    for split in ("valid", "test"):
        assert (new.path / f"{split}.arrow").read_bytes() == (data.path / f"{split}.arrow").read_bytes()
    assert new.fingerprint != data.fingerprint


def test_retarget_with_other_tokenizers(texts, data: DataDirectory, tmp_path):
    """A student's own vocabulary: every split has the same text, encoded again."""
    other = train_vocabularies(texts["train"], vocab_size=55)
    lines = list(data.train.targets())
    retarget(data, lines, tmp_path / "new", tokenizers=other)
    new = DataDirectory.open(tmp_path / "new")
    assert new.tokenizers.fingerprint == other.fingerprint
    for before, after in ((data.train, new.train), (data.valid, new.valid), (data.test, new.test)):
        assert before is not None and after is not None
        assert [*before.sources(), *before.targets()] == [*after.sources(), *after.targets()]
        assert after.target_ids(0).tolist() == other.target.encode(before.target_text(0))


def test_retarget_again_is_the_same_or_refused(data: DataDirectory, tmp_path):
    lines = list(data.train.targets())
    first = retarget(data, lines, tmp_path / "new")
    before = content(tmp_path / "new")
    assert retarget(data, lines, tmp_path / "new") == first
    with pytest.raises(UserError, match="holds the same data with other targets"):
        retarget(data, ["abc", *lines[1:]], tmp_path / "new")
    with pytest.raises(UserError, match="kind: 'data' there, 'new targets' now"):
        retarget(DataDirectory.open(tmp_path / "new"), lines, copied(data, tmp_path / "other"))
    assert content(tmp_path / "new") == before


@pytest.mark.parametrize(("surplus", "found"), [(-1, "only"), (1, "more")])
def test_retarget_needs_a_line_for_each_pair(data: DataDirectory, tmp_path, surplus, found):
    lines = ["abc"] * (len(data.train) + surplus)
    with pytest.raises(UserError, match=f"need as many new targets, but there are {found}"):
        retarget(data, lines, tmp_path / "new")
    assert not (tmp_path / "new" / "train.arrow").exists()


def test_retarget_with_nothing(data: DataDirectory, tmp_path):
    with pytest.raises(UserError, match="no sentence pair for train"):
        retarget(data, [""] * len(data.train), tmp_path / "new")
