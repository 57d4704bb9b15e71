"""The token store: what goes in comes out, views are views, and no damage goes unnoticed."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from seqdistill.data import store as store_module
from seqdistill.data.store import Store, build_store
from seqdistill.errors import UserError
from seqdistill.vocabulary.sentencepiece import UNK
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies


@pytest.fixture
def small_batches(monkeypatch):
    """Record batches of 7 pairs, so that small stores have many."""
    monkeypatch.setattr(store_module, "ROWS", 7)


@pytest.mark.parametrize("rows", [1, 6, 7, 8, 50])
def test_round_trip(rows, pairs, tokenizers: Vocabularies, tmp_path, small_batches):
    pairs = pairs[:rows]
    counts = build_store(iter(pairs), tokenizers, tmp_path / "train.arrow")
    store = Store.open(tmp_path / "train.arrow")
    assert len(store) == counts.pairs == rows
    assert list(zip(store.sources(), store.targets(), strict=True)) == pairs
    for i, (source, target) in enumerate(pairs):
        assert (store.source_text(i), store.target_text(i)) == (source, target)
        assert store.source_ids(i).tolist() == tokenizers.source.encode(source)
        assert store.target_ids(i).tolist() == tokenizers.target.encode(target)
        assert store.source_lengths[i] == len(store.source_ids(i))
        assert store.target_lengths[i] == len(store.target_ids(i))
    assert (counts.source_tokens, counts.target_tokens) == (store.source_lengths.sum(), store.target_lengths.sum())
    assert store.counts == counts
    for i in (-1, rows):
        with pytest.raises(IndexError):
            store.source_ids(i)


def test_text_is_kept_as_given(tokenizers: Vocabularies, tmp_path):
    """Empty and strange text too; characters outside the vocabulary are counted as unknown."""
    pairs = [("", "abc"), ("naïve  Ünïcode\u2028line", ""), ("日本", "😀")]
    counts = build_store(pairs, tokenizers, tmp_path / "s.arrow")
    store = Store.open(tmp_path / "s.arrow")
    assert list(zip(store.sources(), store.targets(), strict=True)) == pairs
    assert counts.source_unknown == sum(tokenizers.source.encode(s).count(UNK) for s, _ in pairs) > 0
    assert store.source_lengths[0] == 0


def test_an_empty_store_opens(tokenizers: Vocabularies, tmp_path):
    assert build_store([], tokenizers, tmp_path / "s.arrow").pairs == 0
    store = Store.open(tmp_path / "s.arrow")
    assert len(store) == len(store.source_lengths) == 0
    assert list(store.sources()) == []


def test_ids_are_views_of_the_mapped_file(store: Store):
    ids = store.source_ids(3)
    assert not ids.flags.owndata
    assert not ids.flags.writeable
    before = pa.total_allocated_bytes()
    for i in range(len(store)):
        store.source_ids(i)
    assert pa.total_allocated_bytes() == before


def test_ids_of_a_vocabulary_above_16_bits_are_32_bits(tokenizers: Vocabularies, monkeypatch, tmp_path):
    """A vocabulary of 65,536 pieces still fits 16 bits; one more does not."""
    for size, kind in ((1 << 16, np.uint16), ((1 << 16) + 1, np.int32)):
        monkeypatch.setattr(type(tokenizers.source), "__len__", lambda self, size=size: size)
        build_store([("abc", "abc")], tokenizers, tmp_path / f"{size}.arrow")
        store = Store.open(tmp_path / f"{size}.arrow")
        assert store.source_ids(0).dtype == kind
        assert store.source_ids(0).tolist() == tokenizers.source.encode("abc")


def test_long_text_ends_a_record_batch_early(pairs, tokenizers: Vocabularies, monkeypatch, tmp_path):
    """Record batches stay small however long lines are, and rows are still found."""
    monkeypatch.setattr(store_module, "CHARACTERS", 100)
    build_store(pairs, tokenizers, tmp_path / "s.arrow")
    store = Store.open(tmp_path / "s.arrow")
    with pa.ipc.open_file(tmp_path / "s.arrow") as reader:
        sizes = [reader.get_batch(k).num_rows for k in range(reader.num_record_batches - 1)]
    assert len(set(sizes)) > 1
    assert [store.source_text(i) for i in range(len(store))] == [source for source, _ in pairs]


def test_same_pairs_same_bytes(pairs, tokenizers: Vocabularies, tmp_path):
    for name in ("a", "b"):
        build_store(pairs, tokenizers, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_fingerprint_tells_content_and_tokenizer(pairs, tokenizers: Vocabularies, tmp_path):
    other = train_vocabularies(pairs, vocab_size=47)
    build_store(pairs, tokenizers, tmp_path / "a")
    build_store([*pairs[:-1], ("abc", "abc")], tokenizers, tmp_path / "b")
    build_store([("", "")], tokenizers, tmp_path / "c")
    build_store([("", "")], other, tmp_path / "d")
    stores = [Store.open(tmp_path / name) for name in "abcd"]
    assert len({store.fingerprint for store in stores}) == 4
    assert stores[2].tokenizers_fingerprint == tokenizers.fingerprint
    assert stores[3].tokenizers_fingerprint == other.fingerprint


def test_missing_store(tmp_path):
    with pytest.raises(UserError, match="no such token store; `seqdistill prepare` makes one"):
        Store.open(tmp_path / "train.arrow")


def test_a_cut_store_is_found_at_open_wherever_it_is_cut(pairs, tokenizers: Vocabularies, tmp_path, small_batches):
    build_store(pairs[:20], tokenizers, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    for size in [*range(0, len(content), 61), len(content) - 1]:
        cut.write_bytes(content[:size])
        with pytest.raises(UserError, match="cut or altered"):
            Store.open(cut)


def test_another_arrow_file_is_no_store(tmp_path):
    table = pa.table({"source": ["a"]})
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write(table)
    with pytest.raises(UserError, match=r"x\.arrow: expected a seqdistill token store 2, found another Arrow file"):
        Store.open(tmp_path / "x.arrow")


def test_a_store_in_a_folder_whose_name_is_not_utf8(pairs, tokenizers: Vocabularies, tmp_path):
    """Arrow's own functions for files refuse such paths."""
    path = tmp_path / os.fsdecode(b"caf\xe9.arrow")
    build_store(pairs, tokenizers, path)
    assert list(Store.open(path).sources()) == [source for source, _ in pairs]


def test_a_full_disk_leaves_nothing_and_says_so(pairs, tokenizers: Vocabularies, tmp_path, monkeypatch):
    """The old store stays as it was, no part stays behind, and the message says what to do."""
    path = tmp_path / "train.arrow"
    build_store(pairs[:2], tokenizers, path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"the disk is full .*free some space"):
        build_store(pairs, tokenizers, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["train.arrow"]


def test_a_really_full_disk(pairs, tokenizers: Vocabularies, tmp_path):
    """/dev/full refuses every write; Arrow's error for it carries the system's number, so it is understood."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / f".train.arrow.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"train\.arrow: the disk is full"):
        build_store(pairs, tokenizers, tmp_path / "train.arrow")
    assert list(tmp_path.iterdir()) == []


def test_failing_text_leaves_nothing(tokenizers: Vocabularies, tmp_path):
    def pairs():
        yield "abc", "abc"
        raise UserError("line 2 is broken")

    with pytest.raises(UserError, match="line 2 is broken"):
        build_store(pairs(), tokenizers, tmp_path / "train.arrow")
    assert list(tmp_path.iterdir()) == []
