"""Reranking: the teacher's mean log-probability against teacher forcing by hand, and the order that it gives."""

import pytest
import torch
from fake_engine import FakeEngine
from toy_models import ToyRefiner, ToyWriter, forced_log_prob, random_sources

from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.rerank import RerankingEngine
from seqdistill.decoding.scoring import mean_log_probs
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import EOS, SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies

SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2}
LINES = ["a dog runs", "", "a cat runs on", "dogs run on and on", "cat"]


@pytest.fixture(scope="module")
def tokenizers() -> Vocabularies:
    joint = SentencePiece.train([*LINES[2:], LINES[0]] * 3, vocab_size=24)
    return Vocabularies(joint, joint, joint=True)


def teacher(vocab: int, *, seed: int = 1) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(TransformerConfig(vocab, vocab, **SIZES)).eval()


class Candidates(FakeEngine):
    """Hypothesis k of a line is the line with its last k words dropped."""

    def _hypothesis(self, source, line, k):
        words = source.split()
        return super()._hypothesis(" ".join(words[: max(0, len(words) - k)][::-1]), line, 0)._replace(passes=7)


def test_scores_are_mean_log_probabilities_with_eos() -> None:
    model, generator = teacher(20), torch.Generator().manual_seed(2)

    def words() -> list[int]:
        return torch.randint(5, 20, (int(torch.randint(1, 9, (), generator=generator)),), generator=generator).tolist()

    pairs = [(words(), words()) for _ in range(13)] + [([5, 6], [])]
    for max_tokens in (8, 1000):
        found = mean_log_probs(model, pairs, max_tokens=max_tokens)
        for (source, target), score in zip(pairs, found, strict=True):
            logits = model(torch.tensor([[*source, EOS]]), torch.tensor([[*target, EOS]]))[0].log_softmax(-1)
            expected = logits[torch.arange(len(target) + 1), torch.tensor([*target, EOS])].mean().item()
            assert score == pytest.approx(expected, abs=1e-5)


def test_the_teacher_decides_the_order(tokenizers: Vocabularies) -> None:
    model = teacher(len(tokenizers.target))
    engine = RerankingEngine(Candidates(), TorchEngine(model, tokenizers, fingerprint="teacher"))
    options = DecodingOptions(beam=3, n_best=3)
    found = engine.decode(LINES, options, line_numbers=range(len(LINES)))
    assert [len(hypotheses) for hypotheses in found] == [3] * len(LINES)
    changed = 0
    for source, hypotheses in zip(LINES, found, strict=True):
        texts = [hypothesis.text for hypothesis in hypotheses]
        ids = [tokenizers.source.encode(text) for text in (source, *texts)]
        expected = mean_log_probs(model, [(ids[0], target) for target in ids[1:]])
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx(expected)
        words = [score for text, score in zip(texts, expected, strict=True) if text]
        assert words == sorted(words, reverse=True)
        assert texts == sorted(texts, key=lambda text: not text)  # nothing at all comes last
        assert {hypothesis.passes for hypothesis in hypotheses} == {7}
        changed += texts[0] != source
    assert changed
    first = engine.decode(LINES, DecodingOptions(beam=3), line_numbers=range(len(LINES)))
    assert first == [hypotheses[:1] for hypotheses in found]
    assert engine.fingerprint == {"engine": "fake", "rerank": engine.teacher.fingerprint}


def test_traces_come_in_the_same_order(tokenizers: Vocabularies) -> None:
    student = TorchEngine(ToyRefiner(iterations=4, words=len(tokenizers.target) - 5), tokenizers)
    engine = RerankingEngine(student, TorchEngine(teacher(len(tokenizers.target)), tokenizers))
    options = DecodingOptions(beam=4, n_best=2)
    for line in LINES:
        (expected,) = engine.decode([line], options)
        traces = engine.traces(line, options)
        assert [trace.translation for trace in traces] == [hypothesis.text for hypothesis in expected]


def test_one_hypothesis_cannot_be_reranked(tokenizers: Vocabularies) -> None:
    engine = RerankingEngine(Candidates(), TorchEngine(teacher(len(tokenizers.target)), tokenizers))
    with pytest.raises(UserError, match="give a beam of 2 or more"):
        engine.decode(LINES, DecodingOptions(beam=1), line_numbers=range(len(LINES)))
    with pytest.raises(UserError, match="or sample several"):
        engine.decode(LINES, DecodingOptions(sampling=True), line_numbers=range(len(LINES)))
    sampled = engine.decode(LINES[:1], DecodingOptions(sampling=True, n_best=2), line_numbers=[0])
    assert len(sampled[0]) == 2


def test_a_non_autoregressive_model_cannot_rerank(tokenizers: Vocabularies) -> None:
    for judge in (TorchEngine(ToyRefiner(iterations=1), tokenizers), FakeEngine()):
        with pytest.raises(UserError, match="must score given outputs, as autoregressive models do"):
            RerankingEngine(Candidates(), judge)


def test_scores_agree_with_the_toys_own_teacher_forcing() -> None:
    """A second model, whose special ids are left out of the sum in the toy: so its score is at least as high."""
    model, sources = ToyWriter(30, seed=1), random_sources(30, rows=3)
    for source in sources:
        ids = source[: source.tolist().index(EOS)].tolist()
        (found,) = mean_log_probs(model, [(ids, [7, 8])])
        assert found <= forced_log_prob(model, source[None], (7, 8), ended=True) / 3 + 1e-6
