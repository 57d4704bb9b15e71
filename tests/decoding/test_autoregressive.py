"""Greedy and sampling: frequencies, truncated sets, and draws that do not depend on the batch."""

import numpy as np
import pytest
import torch
from toy_models import ToyWriter, forced_log_prob, random_sources

from seqdistill.decoding.decode import decode
from seqdistill.decoding.given import Given
from seqdistill.decoding.sampling import draw, draw_keys, uniform
from seqdistill.errors import UserError
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import EOS


def test_greedy_takes_the_most_probable_token_of_every_prefix() -> None:
    source = random_sources(20, rows=12)
    model = ToyWriter(20)
    for row, (best,) in enumerate(decode(model, source, DecodingOptions(beam=1, max_length=9))):
        words = list(best.tokens)
        logits = model(source[row : row + 1], torch.tensor([[*words, 3]]))[0]
        logits[:, list(OURS.never_written)] = -torch.inf
        ended = len(words) < 9
        assert logits.argmax(1).tolist()[: len(words) + ended] == words + [EOS] * ended


def test_sampled_frequencies_match_the_distribution() -> None:
    """Chi-square over all outputs of at most two tokens, 20,000 draws; the 99.9 % point bounds the statistic."""
    vocab, draws = 8, 20_000
    source, model = random_sources(vocab, rows=1), ToyWriter(vocab, scale=0.8)
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(draws // 1000):
        options = DecodingOptions(sampling=True, n_best=1000, max_length=2, temperature=0.8, seed=seed)
        (found,) = decode(model, source, options)
        for hypothesis in found:
            counts[hypothesis.tokens] = counts.get(hypothesis.tokens, 0) + 1
    expected = _output_probabilities(model, source, vocab, temperature=0.8)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    statistic = sum((counts.get(words, 0) - draws * p) ** 2 / (draws * p) for words, p in expected.items())
    assert len(expected) == 1 + 3 + 9
    assert statistic < 32.91  # chi-square, 12 degrees of freedom


def _output_probabilities(model, source, vocab: int, *, temperature: float) -> dict[tuple[int, ...], float]:
    def next_probabilities(words: tuple[int, ...]) -> torch.Tensor:
        logits = model(source, torch.tensor([[*words, 3]]))[0, -1]
        logits[list(OURS.never_written)] = -torch.inf
        return (logits / temperature).softmax(0)

    first, expected = next_probabilities(()), {}
    expected[()] = first[EOS].item()
    for word in range(5, vocab):
        second = next_probabilities((word,))
        expected[(word,)] = (first[word] * second[EOS]).item()
        expected |= {(word, other): (first[word] * second[other]).item() for other in range(5, vocab)}
    return expected


@pytest.mark.parametrize("top_k, top_p", [(3, 1.0), (0, 0.6), (4, 0.7), (1, 1.0), (1000, 0.5)])
def test_draws_stay_in_their_set_and_reach_all_of_it(top_k: int, top_p: float) -> None:
    log_probs = torch.randn(1, 40, generator=torch.Generator().manual_seed(5)).mul(2).log_softmax(1)
    order = log_probs[0].argsort(descending=True)[: top_k or None]
    kept = log_probs[0, order].softmax(0)
    before = kept.cumsum(0) - kept
    allowed = order[before < top_p]
    options = DecodingOptions(sampling=True, top_k=top_k, top_p=top_p)
    numbers = torch.linspace(0, 1 - 1e-9, 20_000, dtype=torch.float64)
    drawn = draw(log_probs.expand(20_000, -1), numbers, options)
    assert set(drawn.tolist()) == set(allowed.tolist())
    frequency = drawn.bincount(minlength=40)[allowed] / 20_000
    assert frequency.numpy() == pytest.approx(log_probs[0, allowed].softmax(0).numpy(), abs=2e-4)


def test_draw_never_takes_what_is_forbidden() -> None:
    log_probs = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).log_softmax(1).expand(3, -1)
    numbers = torch.tensor([0.0, 0.5, 1 - 2.0**-52], dtype=torch.float64)
    assert draw(log_probs, numbers, DecodingOptions(sampling=True)).tolist() == [1, 3, 3]


def test_uniform_numbers_are_uniform_and_unrelated() -> None:
    keys = draw_keys(7, np.arange(200), 50)
    assert len(set(keys.tolist())) == 10_000
    numbers = np.stack([uniform(keys, step) for step in range(4)])
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.stack([np.histogram(row, 20, (0, 1))[0] for row in numbers])
    assert (((counts - 500) ** 2 / 500).sum(1) < 43.8).all()  # 99.9 % point, 19 degrees of freedom
    correlation = np.corrcoef(np.concatenate([numbers, numbers[:, 1:].copy()[:, :0]], 1))
    assert np.abs(correlation - np.eye(4)).max() < 0.04


def test_sampling_does_not_depend_on_the_batch() -> None:
    source, model = random_sources(60, rows=24), ToyWriter(60)
    options = DecodingOptions(sampling=True, top_k=10, n_best=3, max_length=12, seed=5)
    lines = torch.arange(100, 124)
    together = decode(model, source, options, Given(lines.tolist()))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    shuffled = decode(model, source[order], options, Given(lines[order].tolist()))
    assert [[h.tokens for h in shuffled[place]] for place in order.argsort()] == [
        [h.tokens for h in hypotheses] for hypotheses in together
    ]
    (alone,) = decode(model, source[4:5], options, Given([104]))
    assert [h.tokens for h in alone] == [h.tokens for h in together[4]]
    other = decode(model, source, DecodingOptions(sampling=True, top_k=10, n_best=3, max_length=12, seed=6))
    assert [[h.tokens for h in hs] for hs in other] != [[h.tokens for h in hs] for hs in together]


def test_sampled_log_prob_is_the_models_own() -> None:
    source, model = random_sources(30, rows=8), ToyWriter(30)
    options = DecodingOptions(sampling=True, top_k=5, temperature=0.5, n_best=2, max_length=10)
    for row, hypotheses in enumerate(decode(model, source, options)):
        for tokens, log_prob, *_ in hypotheses:
            forced = forced_log_prob(model, source[row : row + 1], tokens, ended=len(tokens) < 10)
            assert log_prob == pytest.approx(forced, abs=1e-4)


def test_top_one_sampling_is_greedy() -> None:
    source, model = random_sources(30, rows=8), ToyWriter(30)
    drawn = decode(model, source, DecodingOptions(sampling=True, top_k=1, max_length=10))
    assert [h[0].tokens for h in drawn] == [
        h[0].tokens for h in decode(model, source, DecodingOptions(beam=1, max_length=10))
    ]


def test_modes_of_modules_are_put_back() -> None:
    model = ToyWriter(20).train()
    model.child = torch.nn.Dropout().eval()
    decode(model, random_sources(20, rows=2), DecodingOptions(beam=1, max_length=3))
    assert model.training and not model.child.training


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beam": 1, "n_best": 2}, "n_best 2 is more than beam 1"),
        ({"sampling": True, "beam": 2}, "leave beam at 1"),
        ({"top_k": 3}, "belong to sampling"),
        ({"sampling": True, "temperature": 0.0}, "'temperature': .*greater than or equal to 0.001"),
        ({"beam": 0}, "'beam': .*greater than or equal to 1, but it is 0"),
    ],
)
def test_options_that_cannot_be_honoured(options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DecodingOptions(**options)
