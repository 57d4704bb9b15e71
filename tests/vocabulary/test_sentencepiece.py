"""Vocabularies: fixed special ids, reversible, the same bytes each time, and clear words when it cannot be."""

import os
import pickle
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdistill.errors import UserError
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK, SentencePiece, _drawn
from seqdistill.vocabulary.vocabularies import Vocabularies, train_vocabularies

RNG = random.Random(5)
WORDS = ["".join(RNG.choices("abdeghilmnorstuäüß", k=RNG.randint(2, 8))) for _ in range(200)] + ["the", "dog", "Straße"]
TEXT = [" ".join(RNG.choices(WORDS, k=RNG.randint(2, 9))) for _ in range(400)]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def tokenizer(request):
    return SentencePiece.train(TEXT, vocab_size=80, kind=request.param)


def test_special_ids_are_where_they_are_said_to_be(tokenizer):
    assert (PAD, UNK, BOS, EOS, MASK) == (0, 1, 2, 3, 4)
    assert [tokenizer.piece(i) for i in range(5)] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    assert len(tokenizer) == 80


def test_decoding_undoes_encoding(tokenizer):
    for text in TEXT:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert min(ids) > MASK, "ordinary text has no special ids"
    assert tokenizer.encode_batch(TEXT) == [tokenizer.encode(text) for text in TEXT]
    assert tokenizer.decode_batch(tokenizer.encode_batch(TEXT)) == TEXT
    assert tokenizer.decode_batch([]) == []


def test_text_that_spells_a_special_symbol_is_text(tokenizer):
    for text in ("<mask>", "<s> dog </s>", "<pad>"):
        assert set(tokenizer.encode(text)).isdisjoint({PAD, BOS, EOS, MASK})


def test_special_ids_leave_no_trace_but_the_unknown(tokenizer):
    ids = tokenizer.encode("the dog")
    assert tokenizer.decode([BOS, *ids[:1], MASK, *ids[1:], EOS, PAD, PAD]) == "the dog"
    assert UNK in tokenizer.encode("日")
    assert "⁇" in tokenizer.decode([UNK])
    assert tokenizer.decode([]) == "" and tokenizer.encode("") == []


@pytest.fixture(scope="module")
def literal():
    return SentencePiece.train([*TEXT, "a\u2028b", "a  b"], vocab_size=60, normalization="identity")


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("dogs über Straße\u2028  "), max_size=30))
def test_without_normalisation_every_known_character_comes_back(literal, text):
    assert literal.decode(literal.encode(text)) == text.strip()


def test_training_is_deterministic():
    for kind in ("bpe", "unigram"):
        one, two = (SentencePiece.train(iter(TEXT), vocab_size=80, kind=kind, max_sentences=200) for _ in range(2))
        assert one.model == two.model
        assert one.fingerprint == two.fingerprint


def test_every_part_of_the_text_is_drawn_as_much():
    """2,000 of 20,000: from each tenth about 200, within 5 standard deviations; and no sentence twice."""
    drawn = [int(each) for each in _drawn(map(str, range(20_000)), 2000)]
    assert len(set(drawn)) == 2000
    counts = Counter(each // 2000 for each in drawn)
    assert all(abs(counts[tenth] - 200) < 5 * (2000 * 0.1 * 0.9 * 0.9) ** 0.5 for tenth in range(10))
    assert _drawn(["a", "b"], 2) == ["a", "b"]


PROGRAM = """
from seqdistill.vocabulary.sentencepiece import SentencePiece
text = [f"{'abcdefgh'[n % 8]}{'ijklmnop'[n % 7]}{'qrstuvwx'[n % 5]} {n * n % 977}" for n in range(3000)]
print(SentencePiece.train(text, vocab_size=100, kind="KIND", max_sentences=500).fingerprint)
"""


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_every_process_trains_the_same(kind):
    """SentencePiece's own sampling has a seed of the process: two processes trained two tokenizers."""
    command = [sys.executable, "-c", PROGRAM.replace("KIND", kind)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != ""


def test_lower_casing_is_str_lower():
    tokenizer = SentencePiece.train([*TEXT, "Ä"], vocab_size=70, lowercase=True)
    cased = SentencePiece(tokenizer.model, lowercase=False, normalization="identity")
    assert tokenizer.encode("Die STRASSE") == cased.encode("die strasse")
    assert tokenizer.decode(tokenizer.encode("Über die Straße")) == "über die straße"
    assert tokenizer.fingerprint != cased.fingerprint


def test_largest_vocabulary_is_named_and_is_the_largest():
    for kind in ("bpe", "unigram"):
        with pytest.raises(
            UserError, match=r"vocabulary of 5,000 is too large .* largest possible is [\d,]+;"
        ) as caught:
            SentencePiece.train(TEXT, vocab_size=5000, kind=kind)
        largest = int(re.search(r"possible is ([\d,]+)", str(caught.value))[1].replace(",", ""))
        assert len(SentencePiece.train(TEXT, vocab_size=largest, kind=kind)) == largest
        with pytest.raises(UserError, match=f"largest possible is {largest:,}"):
            SentencePiece.train(TEXT, vocab_size=largest + 1, kind=kind)


def test_too_small_a_vocabulary():
    with pytest.raises(UserError, match=r"vocabulary of 8 is too small .* alone take \d+"):
        SentencePiece.train(TEXT, vocab_size=8)


@pytest.mark.parametrize("text", [[], [""], ["", "  "]])
def test_no_text(text):
    with pytest.raises(UserError, match="no text to train a tokenizer on"):
        SentencePiece.train(text, vocab_size=20)


def test_a_tokenizer_pickles(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode(TEXT[0]) == tokenizer.encode(TEXT[0])


PAIRS = [(text, text.upper()) for text in TEXT]


def test_a_joint_tokenizer_knows_both_sides():
    joint = train_vocabularies(PAIRS, vocab_size=90)
    assert joint.joint and joint.source is joint.target
    assert UNK not in joint.source.encode("dog DOG")
    separate = train_vocabularies(PAIRS, vocab_size=70, joint=False)
    assert UNK in separate.source.encode("DOG") and UNK not in separate.target.encode("DOG")


@pytest.mark.parametrize("joint", [True, False])
def test_saved_and_loaded(tmp_path, joint):
    tokenizers = train_vocabularies(PAIRS, vocab_size=90 if joint else 70, joint=joint, lowercase=not joint)
    tokenizers.save(tmp_path / "t")
    tokenizers.save(tmp_path / "t")
    loaded = Vocabularies.load(tmp_path / "t")
    assert loaded.fingerprint == tokenizers.fingerprint
    assert loaded.joint is joint and loaded.source.lowercase is not joint
    assert (loaded.source is loaded.target) is joint
    assert loaded.target.encode("DOG runs") == tokenizers.target.encode("DOG runs")


@pytest.fixture
def saved(tmp_path):
    train_vocabularies(PAIRS, vocab_size=70, joint=False).save(tmp_path)
    return tmp_path


def test_another_tokenizer_is_not_written_over(saved):
    before = (saved / "source.model").read_bytes()
    with pytest.raises(UserError, match="holds another tokenizer already"):
        train_vocabularies(PAIRS, vocab_size=71, joint=False).save(saved)
    assert (saved / "source.model").read_bytes() == before


def test_a_missing_model(saved):
    (saved / "target.model").unlink()
    with pytest.raises(UserError, match=r"target\.model: is gone; copy the whole folder again"):
        Vocabularies.load(saved)


def test_a_missing_description(tmp_path):
    with pytest.raises(UserError, match=r"expected seqdistill\.json and the files it names, found nothing"):
        Vocabularies.load(tmp_path)


def test_a_cut_model(saved):
    path = saved / "target.model"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"target\.model: was cut or altered"):
        Vocabularies.load(saved)


def test_an_exchanged_model(saved):
    (saved / "source.model").write_bytes((saved / "target.model").read_bytes())
    with pytest.raises(UserError, match=r"source\.model: was cut or altered"):
        Vocabularies.load(saved)


@pytest.mark.parametrize("text", ["{}", '{"sides": {"left": {"kind": "x"}}, "joint": true, "fingerprint": "x"}', "[1]"])
def test_a_description_of_something_else(saved, text):
    (saved / "seqdistill.json").write_text(text)
    with pytest.raises(UserError, match=r"seqdistill\.json"):
        Vocabularies.load(saved)


def test_a_foreign_sentencepiece_model_is_refused():
    import io

    import sentencepiece

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=writer, vocab_size=80, minloglevel=2
    )
    with pytest.raises(UserError, match=r"first pieces must be <pad>, <unk>, <s>, </s>, <mask>, but .* has <unk>"):
        SentencePiece(writer.getvalue(), lowercase=False, normalization="identity")
