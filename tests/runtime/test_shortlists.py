"""Shortlists: what the aligner finds in toy text, unions by brute force, and vocabularies that do not fit."""

from __future__ import annotations

import random
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import pytest
from native.compiled import engine_sets
from runtime.exported import exported, sentences, tokenizers, trained

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.errors import UserError
from seqdistill.native.directory import open_exported
from seqdistill.native.shortlist import ShortlistTable
from seqdistill.native.student import Student
from seqdistill.progress import Silent
from seqdistill.runtime.shortlists import Shortlist, Size, shortlist_of, write_vmap
from seqdistill.text.corpus import ParallelCorpus, SentencePair
from seqdistill.vocabulary.vocabularies import Vocabularies

ENGLISH = ("red", "blue", "house", "tree", "runs", "sees", "dog")
GERMAN = dict(zip(ENGLISH, ("rot", "blau", "haus", "baum", "rennt", "sieht", "hund"), strict=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word for word German, in the order of the source, so that every word has one translation."""
    draw, folder = random.Random(2), tmp_path_factory.mktemp("data")
    lines = [draw.choices(list(GERMAN), k=draw.randint(2, 6)) for _ in range(400)]
    pairs = [SentencePair(" ".join(words), " ".join(GERMAN[word] for word in words)) for words in lines]
    held_out = ParallelCorpus.from_pairs("valid", [SentencePair("red dog runs", "rot hund rennt")])
    train = ParallelCorpus.from_pairs("train", pairs)
    prepare(train=train, valid=held_out, test=None, out=folder / "d", vocab_size=70, joint=True)
    return folder / "d"


def spelled(vocabularies: Vocabularies, ids: list[int]) -> set[str]:
    return {vocabularies.target.piece(token).lstrip("▁") for token in ids}


def test_words_and_their_translations(data: Path) -> None:
    vocabularies = DataDirectory.open(data).tokenizers
    found = shortlist_of(data, vocabularies, Size(3, 0), workers=1, progress=Silent())
    table = ShortlistTable(found.starts.tolist(), found.common.tolist(), found.targets.tolist())
    for word, translation in GERMAN.items():
        source = vocabularies.source.encode(word)
        needed = {*vocabularies.target.encode(translation), vocabularies.target.ids.eos}
        if len(source) == 1:  # a piece of its own, so the aligner knows it as a word
            assert needed <= {*table.of(source)}
        whole = table.of([token for each in GERMAN for token in vocabularies.source.encode(each)])
        assert needed <= {*whole}
    own = table.of(vocabularies.source.encode("red"))
    assert set("".join(GERMAN.values())) <= spelled(vocabularies, own), "every letter can be written"
    assert not {*own} & {*vocabularies.target.ids.never_written} and own == sorted(set(own))
    assert len(own) < len(vocabularies.target) - 8, "translations of other words are left out"
    rare = shortlist_of(data, vocabularies, Size(3, 20), workers=1, progress=Silent())
    assert {*found.common.tolist()} < {*rare.common.tolist()}


def test_copies_of_a_source_piece_are_possible_in_a_joint_vocabulary(data: Path) -> None:
    vocabularies = DataDirectory.open(data).tokenizers
    found = shortlist_of(data, vocabularies, Size(1, 0), workers=1, progress=Silent())
    table = ShortlistTable(found.starts.tolist(), found.common.tolist(), found.targets.tolist())
    barred = {*vocabularies.target.ids.never_written}
    for token in range(len(vocabularies.source)):
        assert token in barred or token in table.of([token])


def test_a_student_writes_words_of_the_shortlist_only(tmp_path: Path) -> None:
    engine_sets()
    vocabularies = tokenizers()
    loaded, lines = trained("sru", tmp_path / "sru", vocabularies), sentences(30, seed=8)
    size = len(vocabularies.target)
    rows = [[token] if token > 4 else [] for token in range(size)]
    eos = vocabularies.target.ids.eos
    table = Shortlist(
        np.array([0, *accumulate(map(len, rows))]),
        np.array([eos]),
        np.array([*chain.from_iterable(rows)]),
        vocabularies.fingerprint,
    )
    student = Student(exported(loaded, tmp_path / "out", shortlist=table))
    ids = vocabularies.source.encode_batch(lines)
    for beam in (1, 3):
        search = student._search._replace(beam=beam, max_length=9)
        found = student.decode_ids(ids, search)
        assert all({*each[0].tokens} <= {*source} for each, source in zip(found, ids, strict=True))
        # A rule of the same ids says the same, in probabilities too.
        ruled = Student(tmp_path / "out", shortlist=False).decode_ids(ids, search, allowed=[[*set(row)] for row in ids])
        for one, other in zip(found, ruled, strict=True):
            assert one[0].tokens == other[0].tokens and one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-4)
    alone = [student.decode_ids([row], search)[0][0] for row in ids]
    assert alone == [row[0] for row in found], "sentence by sentence, never the batch's union"


def test_a_shortlist_of_another_vocabulary_is_refused(data: Path, tmp_path: Path) -> None:
    engine_sets()
    vocabularies = tokenizers()
    with pytest.raises(UserError, match=r"has another tokenizer than the model, so its shortlist would be of another"):
        shortlist_of(data, vocabularies, Size(1, 1), progress=Silent())
    own = shortlist_of(data, DataDirectory.open(data).tokenizers, Size(9, 9), workers=1, progress=Silent())
    loaded = trained("sru", tmp_path / "sru", vocabularies)
    with pytest.raises(UserError, match="the shortlist is of another vocabulary than the model"):
        exported(loaded, tmp_path / "out", shortlist=own)
    exported(loaded, tmp_path / "out")
    with pytest.raises(UserError, match="has no shortlist; give a data directory"):
        shortlist_of(tmp_path / "out", vocabularies, Size(1, 1), progress=Silent())
    with pytest.raises(UserError, match="no data directory"):
        shortlist_of(tmp_path, vocabularies, Size(1, 1), progress=Silent())


def test_a_shortlist_is_taken_from_another_export(data: Path, tmp_path: Path) -> None:
    vocabularies = DataDirectory.open(data).tokenizers
    own = shortlist_of(data, vocabularies, Size(5, 9), workers=1, progress=Silent())
    loaded = trained("sru", tmp_path / "sru", vocabularies)
    exported(loaded, tmp_path / "out", shortlist=own)
    again = shortlist_of(tmp_path / "out", vocabularies, Size(1, 1), progress=Silent())
    sizes = {"sources": len(vocabularies.source), "targets": len(vocabularies.target)}
    written = (tmp_path / "out" / "shortlist.bin").read_bytes()
    assert again.as_bytes(**sizes) == own.as_bytes(**sizes) == written
    opened = open_exported(tmp_path / "out").shortlist
    assert opened is not None and [list(part) for part in opened] == [part.tolist() for part in own[:3]]


@pytest.mark.parametrize("family", ["nat", "cmlm", "inat", "inst", "levt"])
def test_models_that_write_all_words_at_once_have_shortlists(family: str, data: Path, tmp_path: Path) -> None:
    """Each sentence in words of its own list; MASK, an id more than the tokenizer may have, is in none."""
    vocabularies = DataDirectory.open(data).tokenizers
    own = shortlist_of(data, vocabularies, Size(2, 5), workers=1, progress=Silent())
    student = Student(exported(trained(family, tmp_path / family, vocabularies), tmp_path / "out", shortlist=own))
    table = student.exported.shortlist
    assert table is not None and [list(part) for part in table[1:]] == [part.tolist() for part in own[1:3]]
    ids = vocabularies.source.encode_batch(["red dog runs", "blue house", "tree"])
    for source, found in zip(ids, student.decode_ids(ids, student._search._replace(max_length=20)), strict=True):
        assert found[0].tokens and {*found[0].tokens} <= {*table.of(source)} - {*vocabularies.target.ids.no_words}
    again = shortlist_of(tmp_path / "out", vocabularies, Size(1, 1), workers=1, progress=Silent())
    exported(trained("sru", tmp_path / "sru", vocabularies), tmp_path / "other", shortlist=again)
    assert [each.tolist() for each in again[:3]] == [each.tolist() for each in own[:3]]


def test_the_map_of_ctranslate2_has_the_same_words(data: Path, tmp_path: Path) -> None:
    vocabularies = DataDirectory.open(data).tokenizers
    own = shortlist_of(data, vocabularies, Size(5, 3), workers=1, progress=Silent())
    write_vmap(own, vocabularies, tmp_path / "vmap.txt")
    rows = dict(line.split("\t") for line in (tmp_path / "vmap.txt").read_text().splitlines())
    pieces = {vocabularies.target.piece(token): token for token in range(len(vocabularies.target))}
    table = ShortlistTable(own.starts.tolist(), own.common.tolist(), own.targets.tolist())
    for token in range(len(vocabularies.source)):
        found = {pieces[piece] for piece in (rows[""] + " " + rows.get(vocabularies.source.piece(token), "")).split()}
        assert sorted(found) == table.of([token])
