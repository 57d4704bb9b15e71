"""Beam search: exhaustive when wide, greedy when narrow, the same whatever the batch."""

import pytest
import torch
from toy_models import ToyWriter, every_output, forced_log_prob, random_sources

from seqdistill.decoding.autoregressive import greedy
from seqdistill.decoding.beam import beam_search
from seqdistill.decoding.decode import decode
from seqdistill.decoding.limits import length_limits
from seqdistill.decoding.top import top_tokens
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS

VOCAB = 8


@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 0.6, 1.0])
@pytest.mark.parametrize("limit", [1, 4])
def test_beam_wide_enough_is_exhaustive(length_penalty: float, limit: int) -> None:
    source = random_sources(VOCAB, rows=6)
    model = ToyWriter(VOCAB, scale=1.5)
    options = DecodingOptions(beam=3**4 + 3**3, n_best=7, length_penalty=length_penalty, max_length=limit)
    found = decode(model, source, options)
    for row, hypotheses in enumerate(found):
        best = every_output(model, source[row : row + 1], vocab=VOCAB, limit=limit, length_penalty=length_penalty)[:7]
        assert [hypothesis.tokens for hypothesis in hypotheses] == [words for _, words in best]
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([score for score, _ in best], abs=1e-5)


@pytest.mark.parametrize("length_penalty, steps", [(0.0, 2), (1.0, 5)])
def test_search_stops_as_soon_as_nothing_can_improve(length_penalty: float, steps: int) -> None:
    """EOS has probability 0.4, each of two words 0.3, always. Unnormalised, the third output in rank is one of
    probability 0.12 found at the second step, and nothing live can beat it after that. Normalised by length, longer
    is better, so the search goes to the limit."""
    model = ToyWriter(7)
    always = torch.tensor([0.0, 0.0, 0.0, 0.4, 0.0, 0.3, 0.3]).log()
    calls = []

    def counted(tokens, state):
        calls.append(len(tokens))
        return always.repeat(len(tokens), 1), state

    model.step = counted
    options = DecodingOptions(beam=100, n_best=3, length_penalty=length_penalty, max_length=5)
    (found,) = decode(model, random_sources(7, rows=1), options)
    assert len(calls) == steps
    if length_penalty == 0:
        assert [hypothesis.tokens for hypothesis in found] in ([(), (5,), (6,)], [(), (6,), (5,)])


def test_beam_of_one_is_greedy() -> None:
    source = random_sources(30, rows=50)
    model = ToyWriter(30)
    options = DecodingOptions(beam=1, max_length=12)
    for one, other in zip(greedy(model, source, options), beam_search(model, source, options), strict=True):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        assert one[0].log_prob == pytest.approx(other[0].log_prob, abs=1e-5)


@pytest.mark.parametrize("beam, n_best", [(1, 1), (4, 1), (5, 5)])
def test_batch_of_one_equals_batch_of_many(beam: int, n_best: int) -> None:
    source = random_sources(40, rows=32)
    model = ToyWriter(40)
    options = DecodingOptions(beam=beam, n_best=n_best, max_length=15)
    together = decode(model, source, options)
    for row, hypotheses in enumerate(together):
        (alone,) = decode(model, source[row : row + 1], options)
        assert [h.tokens for h in hypotheses] == [h.tokens for h in alone]
        assert [h.score for h in hypotheses] == pytest.approx([h.score for h in alone], abs=1e-5)


@pytest.mark.parametrize("beam", [1, 5])
def test_log_prob_is_the_teacher_forced_sum(beam: int) -> None:
    source = random_sources(40, rows=16)
    model = ToyWriter(40)
    options = DecodingOptions(beam=beam, n_best=beam, max_length=14, length_penalty=0.7)
    limits = length_limits(source, options, padding=OURS.pad).tolist()
    for row, hypotheses in enumerate(decode(model, source, options)):
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.tokens for hypothesis in hypotheses}) == beam
        for tokens, log_prob, score, *_ in hypotheses:
            ended = len(tokens) < limits[row]
            forced = forced_log_prob(model, source[row : row + 1], tokens, ended=ended)
            assert log_prob == pytest.approx(forced, abs=1e-4)
            assert score == pytest.approx(forced / (len(tokens) + ended) ** 0.7, abs=1e-4)


@pytest.mark.parametrize("beam", [1, 5])
def test_special_symbols_are_never_written_and_limits_hold(beam: int) -> None:
    source = random_sources(9, rows=64)
    model = ToyWriter(9, scale=0.1)
    model.output[:, list(OURS.never_written)] = model.output.mean(1, keepdim=True) + 5
    options = DecodingOptions(beam=beam, max_length=13, max_ratio=0.5)
    limits = length_limits(source, options, padding=OURS.pad)
    assert limits.unique().tolist() == [10, 11, 12, 13]
    for limit, (best,) in zip(limits.tolist(), decode(model, source, options), strict=True):
        assert not set(best.tokens) & {*OURS.never_written, 3}
        assert len(best.tokens) <= limit


@pytest.mark.parametrize("vocab", [6, 100, 1280, 1300, 8000])
@pytest.mark.parametrize("k", [1, 6, 10])
def test_top_tokens_is_topk(vocab: int, k: int) -> None:
    k = min(k, vocab)
    values = torch.randn(20, vocab, generator=torch.Generator().manual_seed(vocab))
    values[:, 3] = -torch.inf
    top, columns = top_tokens(values, k)
    assert top.equal(values.topk(k).values)
    assert values.gather(1, columns).equal(top)
