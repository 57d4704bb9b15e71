"""Normalisation: what comes back, for text of every Unicode category, and how many lines do not."""

import io
import unicodedata
from functools import cache

import pytest
import sentencepiece
from hypothesis import given, settings

from seqdistill.data.store import Store, build_store
from seqdistill.vocabulary.normalization import NORMALIZATIONS, normalizer
from seqdistill.vocabulary.sentencepiece import SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies
from seqdistill.vocabulary.vocabulary import altered
from tests.scripts import LANGUAGES, sentence, texts

STRANGE = ["a  b c", "x\ty", "m² ½ ™ ，。", "می‌خواهم", "a▁b", "q▅r", "n\u00a0b", "i\u3000d", "a\u2028b", "e\u0301", "ä"]
RESERVED = str.maketrans("", "", "\ufdd0\ufdd1")
"""Without the two noncharacters that stand for ▁ and ▅ inside."""


@settings(max_examples=40, deadline=None)
@given(texts.map(lambda text: text.translate(RESERVED)))
def test_with_identity_text_of_any_category_comes_back(text):
    """A vocabulary of its own for each text, so that every character is known."""
    kept = text.strip()
    if not kept:
        return
    size = len({*kept, *" ab"}) + 5
    for kind in ("bpe", "unigram"):
        tokenizer = SentencePiece.train([text, "ab ab ab"] * 3, vocab_size=size, kind=kind)
        row = tokenizer.encode(text)
        assert tokenizer.decode(row) == kept
        assert tokenizer.altered([text], [row]) == 0


@pytest.mark.parametrize("name", NORMALIZATIONS)
@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_normalisers_are_unicodes_and_sentencepieces(name, text):
    found = normalizer(name)(text)
    if name == "identity":
        assert found == text
    elif name == "nmt_nfkc":
        assert found == _nmt().decode(_nmt().encode(text, out_type=str)) or "▁" in text
    else:
        assert found == unicodedata.normalize(name.upper(), text)


@cache
def _nmt() -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model that falls back to bytes, so that every normalised character comes back."""
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ab"]), model_writer=writer, vocab_size=262, byte_fallback=True, minloglevel=2
    )
    return sentencepiece.SentencePieceProcessor(model_proto=writer.getvalue())


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("identity", []),
        ("nfc", ["e\u0301"]),
        ("nfkc", ["m² ½ ™ ，。", "n\u00a0b", "i\u3000d", "e\u0301"]),
        ("nmt_nfkc", [each for each in STRANGE if each not in ("q▅r", "ä")]),
    ],
)
def test_lines_that_do_not_come_back_are_counted(name, changed, tmp_path):
    """By decoding each; the store counts them for each side."""
    tokenizers = train_vocabularies([(text, text) for text in STRANGE], vocab_size=60, normalization=name)
    tokenizer = tokenizers.target
    rows = tokenizer.encode_batch(STRANGE)
    assert [text for text, row in zip(STRANGE, rows, strict=True) if tokenizer.decode(row) != text] == changed
    assert tokenizer.altered(STRANGE, rows) == altered(tokenizer, STRANGE, rows) == len(changed)
    build_store([("ä", text) for text in STRANGE], tokenizers, tmp_path / "store.arrow")
    counts = Store.open(tmp_path / "store.arrow").counts
    assert (counts.source_altered, counts.target_altered) == (0, len(changed))
    tokenizers.save(tmp_path / "tokenizer")
    again = Vocabularies.load(tmp_path / "tokenizer").target
    assert again.fingerprint == tokenizer.fingerprint and again.encode_batch(STRANGE) == rows


def test_normalisations_are_other_vocabularies():
    model = SentencePiece.train(["ab ab"] * 3, vocab_size=9).model
    found = {SentencePiece(model, lowercase=False, normalization=name).fingerprint for name in NORMALIZATIONS}
    assert len(found) == len(NORMALIZATIONS)


def test_characters_that_are_left_out_are_unknown_and_counted():
    lines = ["ab ab ab"] * 50 + ["aβ"]
    small = SentencePiece.train(lines, vocab_size=9, character_coverage=0.99)
    rows = small.encode_batch(lines)
    assert small.decode(rows[-1]) == "a ⁇ "
    assert small.altered(lines, rows) == 1


@pytest.mark.parametrize("script", LANGUAGES)
def test_pairs_without_tokens_are_left_out_and_counted(script, tmp_path):
    """U+0001 is no token under nmt_nfkc, though it is a character."""
    line = sentence(script, [1, 2, 3])
    size = len({"▁", *normalizer("nmt_nfkc")(line + "ab")}) + 6
    tokenizers = train_vocabularies([(line, "ab")] * 5, vocab_size=size, normalization="nmt_nfkc")
    pairs = [(line, "ab"), (line, "\ufffd"), ("\u200b", "ab"), (line, "b")]
    counts = build_store(pairs, tokenizers, tmp_path / "train.arrow", drop_empty=True)
    assert (counts.pairs, counts.empty) == (2, 2)
    assert list(Store.open(tmp_path / "train.arrow").targets()) == ["ab", "b"]
    assert build_store(pairs, tokenizers, tmp_path / "test.arrow").pairs == 4, "test text is taken as it is"
