"""Traces: the same output as without one, every iteration told, and what changed marked where it changed."""

import pytest
from toy_inserter import BEST, ToyConfig, ToyInserter
from toy_models import ToyRefiner, ToyWriter, random_sources

from seqdistill.decoding.decode import decode, trace
from seqdistill.decoding.refinement import TracedHypothesis, Version
from seqdistill.decoding.trace import Part, Trace, text_trace, trace_from
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import SentencePiece


@pytest.fixture(scope="module")
def tokenizer() -> SentencePiece:
    """Every word is a piece."""
    tokenizer = SentencePiece.train(["a dog runs", "a cat runs on"] * 3, vocab_size=29)
    assert [len(tokenizer.encode(word)) for word in ("a", "dog", "cat", "runs", "on")] == [1] * 5
    return tokenizer


def traced(tokenizer: SentencePiece, texts: list[str], *, inserts: bool) -> Trace:
    """Of these outputs after each iteration."""
    versions = tuple(
        Version(tuple(tokenizer.encode(text)), -float(number), number) for number, text in enumerate(texts, 1)
    )
    hypothesis = Hypothesis(versions[-1].tokens, versions[-1].log_prob, 0.0)
    return text_trace("ein Hund", TracedHypothesis(hypothesis, versions), tokenizer, inserts=inserts)


class TestVersions:
    @pytest.mark.parametrize("beam", [1, 3])
    def test_of_a_refiner(self, beam: int) -> None:
        """In iteration t the first 2t words get their final token, 5 stands for the others."""
        options = DecodingOptions(beam=beam, n_best=beam)
        for source in random_sources(12, rows=10):
            (expected,) = decode(ToyRefiner(iterations=10, speed=2, words=99), source[None], options)
            found = trace(ToyRefiner(iterations=10, speed=2, words=99), source[None], options)
            assert [each.hypothesis for each in found] == expected
            for hypothesis, versions in found:
                length = len(hypothesis.tokens)
                assert len(versions) == -(-length // 2) + 1
                for number, version in enumerate(versions, 1):
                    final = min(2 * number, length)
                    assert version.tokens == hypothesis.tokens[:final] + (5,) * (length - final)
                    assert version.passes == number
                assert versions[-1][:2] == hypothesis[:2]

    def test_of_an_inserter(self) -> None:
        (found,) = trace(
            ToyInserter(ToyConfig(12, 12)), random_sources(12, rows=1), DecodingOptions(beam=1, penalty=BEST)
        )
        lengths = [len(version.tokens) for version in found.versions]
        assert lengths == sorted(lengths) and lengths[-1] == lengths[-2] == len(found.hypothesis.tokens)
        assert [version.passes for version in found.versions] == [2 * n for n in range(1, len(lengths) + 1)]

    def test_of_a_model_that_writes_left_to_right(self) -> None:
        with pytest.raises(UserError, match="this one is autoregressive: leave the trace out"):
            trace(ToyWriter(30), random_sources(30, rows=1), DecodingOptions(beam=1))


class TestText:
    def test_positions_are_compared_where_words_stay_where_they_are(self, tokenizer: SentencePiece) -> None:
        found = traced(tokenizer, ["a dog dog", "a cat dog", "a cat dog"], inserts=False)
        assert found.lines() == ["    ein Hund", " 1  a dog dog", " 2  a [cat] dog", " 3  a cat dog"]
        assert found.translation == "a cat dog"

    def test_words_that_moved_are_not_changed_where_words_are_inserted(self, tokenizer: SentencePiece) -> None:
        found = traced(tokenizer, ["dog on", "a dog runs on"], inserts=True)
        assert found.lines()[1:] == [" 1  dog on", " 2  [a] dog [runs] on"]

    def test_parts_are_the_text(self, tokenizer: SentencePiece) -> None:
        texts = ["a dog runs", "a cat runs", "on", ""]
        found = traced(tokenizer, texts, inserts=True)
        assert [iteration.text.strip() for iteration in found.iterations] == texts
        assert all(part.text for iteration in found.iterations for part in iteration.parts)
        assert [(iteration.passes, iteration.log_prob) for iteration in found.iterations] == [
            (1, -1.0),
            (2, -2.0),
            (3, -3.0),
            (4, -4.0),
        ]

    def test_spaces_are_no_change(self, tokenizer: SentencePiece) -> None:
        parts = traced(tokenizer, ["on", "a"], inserts=True).iterations[1].parts
        assert [part for part in parts if part.text.strip()] == [Part("a", True)]

    def test_comes_back_from_json(self, tokenizer: SentencePiece) -> None:
        found = traced(tokenizer, ["a dog dog", "a cat dog"], inserts=False)
        assert trace_from(found.as_json()) == found
