"""Parallel corpora from files and tables, and where two misaligned files part company."""

import gzip
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqdistill.errors import UserError
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.text.shift import first_shifted

PAIRS = [("A dog runs.", "Ein Hund läuft."), ("A cat\u2028sleeps.", "Eine Katze schläft."), ("", "leer")]


def write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_two_files(tmp_path, end):
    source = write(tmp_path / f"a.en{end}", "".join(f"{pair[0]}\n" for pair in PAIRS))
    target = write(tmp_path / f"a.de{end}", "".join(f"{pair[1]}\n" for pair in PAIRS))
    corpus = ParallelCorpus.from_files(source, target)
    assert list(corpus) == PAIRS
    assert list(corpus) == PAIRS, "a corpus can be read again"
    assert corpus.files == (source, target)
    assert all(isinstance(pair, SentencePair) for pair in corpus)


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz", "t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_all_forms_of_a_table_hold_the_same(tmp_path, name):
    path = tmp_path / name
    if ".tsv" in name:
        write(path, "id\tsource\ttarget\n" + "".join(f"7\t{pair[0]}\t{pair[1]}\n" for pair in PAIRS))
    elif ".jsonl" in name:
        write(path, jsonl([{"target": pair[1], "source": pair[0]} for pair in PAIRS]))
    else:
        pq.write_table(pa.table({"source": [p[0] for p in PAIRS], "target": [p[1] for p in PAIRS]}), path)
    assert list(ParallelCorpus.from_table(path)) == PAIRS


def test_tsv_without_names(tmp_path):
    path = write(tmp_path / "t.tsv", "eins\tone\nzwei\ttwo\n")
    assert list(ParallelCorpus.from_table(path, "2", "1")) == [("one", "eins"), ("two", "zwei")]


def test_nested_columns(tmp_path):
    rows = [{"translation": {"en": "one", "de": "eins"}}]
    path = write(tmp_path / "t.jsonl", jsonl(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for table in (path, tmp_path / "t.parquet"):
        assert list(ParallelCorpus.from_table(table, "translation.de", "translation.en")) == [("eins", "one")]


def test_line_breaks_inside_a_cell_become_spaces(tmp_path):
    path = write(tmp_path / "t.jsonl", jsonl([{"source": "a\nb\r\nc", "target": "d\u2028e"}]))
    assert list(ParallelCorpus.from_table(path)) == [("a b c", "d\u2028e")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "source\ttarget\none\teins\ntwo\n", r"t\.tsv, line 3: expected 2 columns as in line 1, found 1"),
        ("t.tsv", "source\ttarget\none\teins\tun\n", r"t\.tsv, line 2: expected 2 columns as in line 1, found 3"),
        ("t.tsv", "one\teins\n", r"t\.tsv, line 1: no column 'source'; there: one, eins.*numbers from 1"),
        (
            "t.jsonl",
            '{"source": "a", "target": "b"}\n{"source": "a"}\n',
            r"t\.jsonl, line 2: no column 'target'; .*source",
        ),
        ("t.jsonl", '{"source": "a", "target": "b"}\n{oops\n', r"t\.jsonl, line 2: not valid JSON"),
        ("t.jsonl", "[1, 2]\n", r"t\.jsonl, line 1: expected a JSON object, found \[1, 2\]"),
        ("t.jsonl", '{"source": 3, "target": "b"}\n', r"line 1: expected text in column 'source', found 3"),
        ("t.jsonl", '{"source": null, "target": "b"}\n', r"line 1: expected text in column 'source', found null"),
        ("t.jsonl", '{"source": "a\\u0000", "target": "b"}\n', r"line 1: a NUL byte in column 'source'"),
        ("t.jsonl", '{"source": "a\\ud800", "target": "b"}\n', r"line 1: half a surrogate pair in column 'source'"),
        ("t.jsonl", "", r"t\.jsonl: the file is empty"),
        ("t.csv", "a,b\n", r"t\.csv: not a table that can be read; expected \.tsv, \.jsonl, \.parquet"),
        ("t.parquet", "PAR1 but no more", r"t\.parquet: not a whole Parquet file"),
        ("t.parquet.gz", "no", r"t\.parquet\.gz: not a table that can be read"),
    ],
)
def test_faulty_tables(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises(UserError, match=message):
        list(ParallelCorpus.from_table(path))


def test_tsv_column_number_out_of_range(tmp_path):
    with pytest.raises(UserError, match="no column 3; it has 2, counted from 1"):
        list(ParallelCorpus.from_table(write(tmp_path / "t.tsv", "a\tb\n"), "1", "3"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": ["a"], "de": ["b"]}, r"t\.parquet: no column 'target'; there: source, de"),
        (
            {"source": ["a", None], "target": ["b", "c"]},
            r"t\.parquet, row 2: expected text in column 'source', found null",
        ),
        ({"source": [1], "target": ["b"]}, r"row 1: expected text in column 'source', found 1"),
        ({"source": pa.array([], pa.string()), "target": pa.array([], pa.string())}, "the table has no rows"),
    ],
)
def test_faulty_parquet(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=message):
        list(ParallelCorpus.from_table(tmp_path / "t.parquet"))


def test_several_targets_are_a_pair_each(tmp_path):
    names = {"a.en": "one\ntwo\n", "a.de": "eins\nzwei\n", "a.fr.gz": "un\n\n"}
    source, *targets = (write(tmp_path / name, text) for name, text in names.items())
    corpus = ParallelCorpus.from_files(source, *targets)
    assert list(corpus) == list(corpus) == [("one", "eins"), ("one", "un"), ("two", "zwei"), ("two", "")]
    assert (corpus.name, corpus.num_targets, corpus.files) == ("a.en+a.de+a.fr.gz", 2, (source, *targets))
    assert corpus.cut(1, 1).num_targets == 2
    rows = ParallelCorpus.from_rows("r", [("one", "eins", "un"), ("two", "zwei", "")], num_targets=2)
    assert list(rows) == list(corpus) and rows.num_targets == 2
    assert ParallelCorpus.from_files(source, targets[0]).num_targets == 1


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((3, 3, 2), r"a\.en has 3 lines, .*a\.de 3 and .*a\.fr 2; expected as many, .*a\.en probably goes on too long"),
        ((3, 4, 3), r"a\.en has 3 lines, .*a\.de 4 and .*a\.fr 3; .*a\.de probably goes on too long"),
        ((2, 3, 4), r"a\.en has 2 lines, .*a\.de 3 and .*a\.fr 4; .*a\.de probably goes on too long"),
    ],
)
def test_all_counts_are_named_where_files_of_several_targets_differ(tmp_path, counts, message):
    names = ("a.en", "a.de", "a.fr")
    files = [write(tmp_path / name, "abc\n" * count) for name, count in zip(names, counts, strict=True)]
    with pytest.raises(UserError, match=message):
        list(ParallelCorpus.from_files(*files))


def test_the_shift_of_a_second_target_is_found(tmp_path):
    source, target = sentences(4, 300)
    write(tmp_path / "a.en", "\n".join(source))
    write(tmp_path / "a.de", "\n".join(target))
    write(tmp_path / "a.fr", "\n".join([*target[:100], *target[101:]]))
    files = [tmp_path / name for name in ("a.en", "a.de", "a.fr")]
    message = (
        r"300 lines, .*a\.de 300 and .*a\.fr 299; .*near line 101: look there for 1 line\(s\) too many in a\.en, or "
    )
    with pytest.raises(UserError, match=rf"{message}lost from a\.fr"):
        list(ParallelCorpus.from_files(*files))


def test_missing_files_are_told_at_once(tmp_path):
    here = write(tmp_path / "here.en", "x\n")
    with pytest.raises(UserError, match=r"gone\.de: no such file"):
        ParallelCorpus.from_files(here, tmp_path / "gone.de")
    with pytest.raises(UserError, match=r"gone\.tsv: no such file"):
        ParallelCorpus.from_table(tmp_path / "gone.tsv")


def test_an_empty_side_is_told_as_empty(tmp_path):
    source, target = write(tmp_path / "a.en", "one\n"), write(tmp_path / "a.de", "")
    with pytest.raises(UserError, match=r"a\.de: the file is empty"):
        list(ParallelCorpus.from_files(source, target))


def sentences(seed, count):
    rng = np.random.default_rng(seed)
    source = ["x" * int(n) for n in rng.integers(5, 80, count)]
    return source, [line + "y" * int(rng.integers(1, 6)) for line in source]


@pytest.mark.parametrize("place", [0, 1, 57, 298, 299])
@pytest.mark.parametrize("longer", ["source", "target"])
def test_the_place_of_an_extra_line_is_found(tmp_path, place, longer):
    source, target = sentences(1, 300)
    (source if longer == "source" else target).insert(place, "z" * 200)
    write(tmp_path / "a.en", "\n".join(source))
    write(tmp_path / "a.de", "\n".join(target) + "\n")
    counts = "301 lines and .*a.de 300" if longer == "source" else "300 lines and .*a.de 301"
    with pytest.raises(UserError, match=rf"a\.en has {counts}; .*near line {place + 1}: look there for 1 line"):
        list(ParallelCorpus.from_files(tmp_path / "a.en", tmp_path / "a.de"))


def test_a_file_that_only_goes_on_too_long(tmp_path):
    source, target = sentences(2, 300)
    write(tmp_path / "a.en", "\n".join(source[:250]))
    write(tmp_path / "a.de", "\n".join(target))
    with pytest.raises(
        UserError, match=r"250 lines and .* 300; .*agree in length up to line 250: a\.de probably goes on"
    ):
        list(ParallelCorpus.from_files(tmp_path / "a.en", tmp_path / "a.de"))


def test_the_shift_is_the_best_of_all_places():
    """Against trying every place by itself, on lengths without structure."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        short, long = rng.integers(0, 60, 12), rng.integers(0, 60, 15)
        logs = [np.log1p(long[: len(short)]) - np.log1p(short), np.log1p(long[3:]) - np.log1p(short)]
        usual = np.median(np.concatenate(logs))
        costs = [np.abs(logs[0][:k] - usual).sum() + np.abs(logs[1][k:] - usual).sum() for k in range(13)]
        assert costs[first_shifted(short, long)] == pytest.approx(min(costs))


def test_real_captions(shared_data):
    """29,000 pairs, in well under a second on an idle machine; the limit leaves room for a busy one."""
    folder = shared_data / "multi30k"
    began = time.perf_counter()
    pairs = list(ParallelCorpus.from_files(folder / "train.en.gz", folder / "train.de.gz"))
    assert time.perf_counter() - began < 10
    assert len(pairs) == 29_000
    assert pairs[0].source == "Two young, White males are outside near many bushes."
    assert pairs[0].target == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."


def test_cut_keeps_the_first_words_of_longer_lines_only():
    pairs = ParallelCorpus.from_pairs("p", [("a  b c d", "x y"), (" a  b ", "x  y z"), ("", "x")])
    assert list(pairs.cut(2, 0)) == [("a  b", "x y"), (" a  b ", "x  y z"), ("", "x")]
    assert list(pairs.cut(0, 1)) == [("a  b c d", "x"), (" a  b ", "x"), ("", "x")]
    assert list(pairs.cut(4, 3)) == list(pairs) == list(pairs.cut(0, 0))
