"""Corpora as numbered words: what is skipped and counted, and which tokeniser splits which language."""

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.measures import bitext as bitext_module
from seqdistill.measures import tokenizers
from seqdistill.measures.bitext import Skipped, read_bitext
from seqdistill.measures.tokenizers import TOKENIZERS, create_tokenizer


def test_blank_lines_are_skipped_and_counted_and_lines_keep_their_numbers(make_bitext):
    bitext = make_bitext([("b a", "x"), ("", " "), ("a", ""), ("\t", "y"), ("a c", "y y x")])
    assert bitext.lines.tolist() == [1, 5]
    assert (bitext.num_lines, len(bitext)) == (5, 2)
    assert bitext.skipped == Skipped(blank=1, one_sided=2, too_long=0)
    assert bitext.source.words == ("a", "b", "c")
    assert [bitext.target.sentence(pair) for pair in (0, 1)] == [["x"], ["y", "y", "x"]]
    assert bitext.target.frequencies().tolist() == [2, 2]


def test_overlong_pairs_are_skipped(make_bitext, monkeypatch):
    monkeypatch.setattr(bitext_module, "MAX_CELLS", 4)
    assert make_bitext([("a b", "x y"), ("a b c", "x y")]).skipped == Skipped(0, 0, 1)


def test_a_part_keeps_its_words_and_line_numbers(make_bitext):
    whole = make_bitext([("a b", "x"), ("c", "y y"), ("", ""), ("b c d", "z")])
    part = whole.chosen(np.array([1, 2]))
    assert part.lines.tolist() == [2, 4]
    assert part.source.words == ("b", "c", "d")
    assert [part.source.sentence(pair) for pair in (0, 1)] == [["c"], ["b", "c", "d"]]


def test_a_corpus_without_pairs(make_bitext):
    with pytest.raises(UserError, match="toy: none of its 3 lines has words on both sides"):
        make_bitext([("a", ""), ("", "x"), (" ", " ")])
    with pytest.raises(UserError, match="none of its 0 lines"):
        make_bitext([])


def test_tokenisers():
    split = {name: create_tokenizer("de", name=name).split for name in TOKENIZERS}
    line = "Das ist z. B. gut, oder?"
    assert split["moses"](line) == ["Das", "ist", "z.", "B.", "gut", ",", "oder", "?"]
    assert split["none"](line) == line.split()
    assert split["char"]("ab c") == ["a", "b", "c"]
    assert split["zh"]("我 很好ok") == ["我", "很", "好", "ok"]
    assert split["13a"]("So, no.") == ["So", ",", "no", "."]
    assert create_tokenizer("en", lowercase=True).split("It's AT&T") == ["it", "'s", "at", "&", "t"]
    for name in TOKENIZERS:
        assert split[name](" \u00a0 ") == []


def test_signatures_state_the_tokeniser():
    assert create_tokenizer("de").signature.startswith("tok:moses-de|case:mixed|sacremoses:")
    assert create_tokenizer("zh").signature.startswith("tok:zh|case:mixed|sacrebleu:")
    assert create_tokenizer("ja").signature == "tok:char|case:mixed"
    assert create_tokenizer(name="none", lowercase=True).signature == "tok:none|case:lc"
    with pytest.raises(UserError, match="did you mean 'moses'"):
        create_tokenizer("de", name="mose")


def test_many_processes_tokenise_as_one(monkeypatch):
    monkeypatch.setattr(tokenizers, "OWN_LINES", 3)
    monkeypatch.setattr(tokenizers, "CHUNK_LINES", 2)
    pairs = [(f"Nr. {number}, z.B. das Haus.", f"No. {number}, e.g. the house's.") for number in range(20)]
    made = create_tokenizer("de", lowercase=True), create_tokenizer("en")
    one, many = (read_bitext(pairs, *made, name="text", workers=workers) for workers in (1, 2))
    assert one.fingerprint == many.fingerprint and one.signature == many.signature and len(many) == 20
    assert many.source.sentence(7) == made[0].split(pairs[7][0])
