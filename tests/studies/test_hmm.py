"""HMMs against enumeration of all sequences of states, and samples against the probabilities they are drawn from."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from enumeration import all_paths, expected_token_accuracy, joint, posterior_of_paths

from seqdistill.studies.hmm import (
    HMMs,
    Pairs,
    forward,
    log_joint,
    posterior,
    posterior_decoding,
    random_hmms,
    sample,
    viterbi_decoding,
)

LENGTH = 4


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["softmax", "sum"])
def models(request: pytest.FixtureRequest) -> HMMs:
    return random_hmms(hmms=3, states=3, symbols=4, a=3.0, b=2.0, normalise=request.param, generator=generator())


@pytest.fixture
def source(models: HMMs) -> torch.Tensor:
    """Every sequence of symbols there is, for every HMM."""
    return torch.tensor(list(product(range(4), repeat=LENGTH))).expand(3, -1, -1)


def test_likelihood_is_the_sum_over_all_paths(models: HMMs, source: torch.Tensor) -> None:
    found = forward(models, source).log_likelihood.exp()
    for which, number in product(range(3), range(0, source.shape[1], 17)):
        symbols = source[which, number].tolist()
        total = math.fsum(joint(models, which, symbols, path) for path in all_paths(models, LENGTH))
        assert float(found[which, number]) == pytest.approx(total, rel=1e-12)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 3, rel=1e-12)  # over all sources


def test_posterior_and_decoders_against_enumeration(models: HMMs, source: torch.Tensor) -> None:
    marginals = posterior(models, source)
    tokens, sequences = posterior_decoding(models, source), viterbi_decoding(models, source)
    for which, number in product(range(3), range(0, source.shape[1], 11)):
        paths = posterior_of_paths(models, which, source[which, number].tolist())
        for time, state in product(range(LENGTH), range(3)):
            p = math.fsum(p for path, p in paths.items() if path[time] == state)
            assert float(marginals[which, number, time, state]) == pytest.approx(p, rel=1e-10)
        assert tuple(sequences[which, number].tolist()) == max(paths, key=lambda path: paths[path])
        assert tuple(tokens[which, number].tolist()) == max(paths, key=lambda y: expected_token_accuracy(y, paths))


def test_each_decoder_is_the_bayes_decision_for_its_own_accuracy(models: HMMs, source: torch.Tensor) -> None:
    """Zhou et al. 2020, appendix D: nothing beats posterior decoding in expected tokens, nor Viterbi in sequences."""
    tokens, sequences = posterior_decoding(models, source), viterbi_decoding(models, source)
    assert not torch.equal(tokens, sequences)
    gains = {"token": 0.0, "sequence": 0.0}
    for number in range(0, source.shape[1], 7):
        paths = posterior_of_paths(models, 0, source[0, number].tolist())
        by_token, by_sequence = tuple(tokens[0, number].tolist()), tuple(sequences[0, number].tolist())
        reached = {path: expected_token_accuracy(path, paths) for path in paths}
        assert reached[by_token] >= max(reached.values()) - 1e-12
        assert paths[by_sequence] >= max(paths.values()) - 1e-12
        gains["token"] += reached[by_token] - reached[by_sequence]
        gains["sequence"] += paths[by_sequence] - paths[by_token]
    assert gains["token"] > 0 and gains["sequence"] > 0


def test_joint_probability_is_the_product(models: HMMs) -> None:
    pairs = sample(models, sequences=5, time=LENGTH, generator=generator())
    found = log_joint(models, pairs)
    for which, number in product(range(3), range(5)):
        path = tuple(pairs.target[which, number].tolist())
        p = joint(models, which, pairs.source[which, number].tolist(), path)
        assert float(found[which, number]) == pytest.approx(math.log(p), rel=1e-12)


def test_many_hmms_and_sequences_at_once_are_as_one_by_one(models: HMMs, source: torch.Tensor) -> None:
    for which in range(3):
        alone = HMMs(*(part[which : which + 1] for part in models))
        some = source[which : which + 1, 5:9]
        assert torch.equal(viterbi_decoding(alone, some)[0], viterbi_decoding(models, source)[which, 5:9])
        torch.testing.assert_close(posterior(alone, some)[0], posterior(models, source)[which, 5:9])


def test_one_step_is_bayes_rule_and_long_sequences_do_not_underflow(models: HMMs) -> None:
    found = posterior(models, torch.tensor([[[2]]] * 3))[:, 0, 0]
    product_rule = models.initial * models.emission[:, :, 2]
    torch.testing.assert_close(found, product_rule / product_rule.sum(1, keepdim=True))
    pairs = sample(models, sequences=2, time=3000, generator=generator())
    assert (forward(models, pairs.source).log_likelihood < -1000).all()
    torch.testing.assert_close(posterior(models, pairs.source).sum(-1), torch.ones(3, 2, 3000, dtype=torch.float64))
    better = log_joint(models, Pairs(pairs.source, viterbi_decoding(models, pairs.source)))
    assert (better >= log_joint(models, pairs)).all()


def test_sampled_frequencies_are_the_probabilities(models: HMMs) -> None:
    """Within five standard errors, for what starts, what follows, and what is emitted."""
    pairs = sample(models, sequences=20_000, time=3, generator=generator())
    for which in range(3):
        states, symbols = pairs.target[which], pairs.source[which]
        assert_frequencies(states[:, 0], models.initial[which])
        for state in range(3):
            assert_frequencies(states[:, 2][states[:, 1] == state], models.transition[which, state])
            assert_frequencies(symbols[:, 1][states[:, 1] == state], models.emission[which, state])


def assert_frequencies(drawn: torch.Tensor, probabilities: torch.Tensor) -> None:
    found = torch.bincount(drawn, minlength=len(probabilities)) / len(drawn)
    error = (probabilities * (1 - probabilities) / len(drawn)).sqrt()
    assert len(drawn) > 500 and ((found - probabilities).abs() < 5 * error).all()


def test_the_same_seed_gives_the_same_and_another_one_does_not(models: HMMs) -> None:
    first, again, other = (sample(models, sequences=9, time=5, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.source, again.source) and torch.equal(first.target, again.target)
    assert not torch.equal(first.target, other.target)


def test_parameters_are_normalised_as_asked() -> None:
    """By the sum, a cancels; by softmax, the logarithms of a row are as far apart as parameters in (0, a] can be."""
    for part in random_hmms(hmms=2, states=3, symbols=5, a=4.0, b=1.0, generator=generator()):
        torch.testing.assert_close(part.sum(-1), torch.ones(part.shape[:-1], dtype=torch.float64))
    small, large = (
        random_hmms(hmms=9, states=3, symbols=5, a=a, b=1.0, normalise="sum", generator=generator())
        for a in (1.0, 50.0)
    )
    torch.testing.assert_close(small.transition, large.transition)
    for a in (0.5, 8.0):
        soft = random_hmms(hmms=99, states=3, symbols=5, a=a, b=1.0, generator=generator())
        ratio = (soft.transition.amax(-1) / soft.transition.amin(-1)).log()
        assert 0.8 * a < float(ratio.max()) < a  # parameters are within (0, a]
        assert float((soft.emission.amax(-1) / soft.emission.amin(-1)).log().max()) < 1


def test_a_sequence_that_cannot_be_is_an_error() -> None:
    certain = torch.eye(2, dtype=torch.float64)[None]
    models = HMMs(torch.tensor([[1.0, 0.0]], dtype=torch.float64), certain, certain)
    assert viterbi_decoding(models, torch.tensor([[[0, 0]]])).tolist() == [[[0, 0]]]
    with pytest.raises(ValueError, match="probability 0"):
        posterior(models, torch.tensor([[[0, 0], [0, 1]]]))
