"""FlowSeq: its bound against the exact likelihood, the phases of its training, rescoring, sentences at the edges."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from seqdistill.data.batches import collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.interface import CountsUpdates, Memory, RescoringModel
from seqdistill.models.nonautoregressive.configs import FlowSeqConfig
from seqdistill.models.nonautoregressive.flowseq import FlowSeq
from seqdistill.models.nonautoregressive.shared.padded_lengths import padded_targets
from seqdistill.models.nonautoregressive.shared.posterior import FIRST_DEVIATION
from seqdistill.nn.flow_layers import ActNorm, AffineCoupling, Condition
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

VOCAB = 9
SIZES = {"dim": 8, "ffn_dim": 12, "encoder_layers": 1, "posterior_layers": 1, "decoder_layers": 1, "heads": 2}
SIZES |= {"dropout": 0.0, "word_dropout": 0.0, "flow_steps": "1,1,1", "flow_ffn_dim": 12}
PAIRS = [([5, 6, 7, 8], [7, 8, 6]), ([6], [5, 5, 6, 7, 8, 5]), ([8, 7], [6, 5, 7, 8])]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**changed: Any) -> FlowSeq:
    """With a flow that does something."""
    model = FlowSeq(FlowSeqConfig(VOCAB, VOCAB, **{**SIZES, **changed}))
    for layer in model.modules():
        if isinstance(layer, AffineCoupling):
            torch.nn.init.normal_(layer.output.weight, std=0.2)
    return model


def update(model: FlowSeq, batches: int = 1) -> list[float]:
    """Losses of an update's micro-batches."""
    model.begin_update()
    losses = []
    for _ in range(batches):
        loss = model.loss(collate(PAIRS))
        loss.total.backward()
        losses.append(float(loss.total.detach()))
    return losses


class TestLikelihood:
    """A target of one word, latent variables of four dimensions: p(y | x, T = 1) by quadrature."""

    def model(self) -> FlowSeq:
        model = small(dim=4, heads=1, flow_steps="1").double().eval()
        with torch.no_grad():
            for weight in model.reading.parameters():
                weight += 0.5 * torch.randn_like(weight)
            model.posterior.log_variance.bias += 1.8
            model.target_embedding.weight *= 2
        return model.requires_grad_(False)

    def exact(self, model: FlowSeq, source: Tensor, points: int = 2**16) -> Tensor:
        """log p(y | x, T = 1) of every y, the flow's noise on points that fill its space evenly (Sobol, scrambled)."""
        uniform = torch.quasirandom.SobolEngine(4, scramble=True, seed=1).draw(points, dtype=torch.float64)
        noise = torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12))[:, None]
        memory = model.encode(source).select(torch.zeros(len(noise), dtype=torch.int64))
        condition = Condition(torch.ones(len(noise), 1, dtype=torch.bool), memory.states, memory.mask)
        z, _ = model.prior.inverse(noise, condition)
        words = (model._decoded(z, condition)[:, 0] @ model.target_embedding.weight.T).softmax(-1)
        return words.mean(0).log()

    def test_the_bound_lies_below_and_estimates_rise_towards_it(self) -> None:
        model, source = self.model(), collate_sources([[5, 6]])
        exact = self.exact(model, source)
        assert exact.exp().sum().item() == pytest.approx(1.0)
        torch.testing.assert_close(exact, self.exact(model, source, points=2**14), atol=0.01, rtol=0)
        draws = 2**14
        memory = model.encode(source).select(torch.zeros(draws, dtype=torch.int64))
        noise = torch.randn(draws, 1, 4, dtype=torch.float64)
        for word in (5, 8, EOS):
            log_weights = model.log_weights(torch.full((draws, 1), word), memory, noise)
            means = [
                float((log_weights.view(-1, count).logsumexp(1) - torch.tensor(float(count)).log()).mean())
                for count in (1, 8, 64, draws)
            ]
            assert means[0] < exact[word] - 0.02, "there is a gap to be closed"
            assert all(fewer < more for fewer, more in itertools.pairwise(means[:3]))
            assert means[3] == pytest.approx(exact[word].item(), abs=0.08)

    def test_the_loss_is_the_bound(self) -> None:
        """Words, divergence and length of the loss are those of the weights with the same noise."""
        model = small().double().eval()
        batch = collate(PAIRS)
        tokens = padded_targets(batch.target, 4, OURS)
        torch.manual_seed(5)
        loss = model.loss(batch)
        torch.manual_seed(5)
        noise = torch.randn(*tokens.shape, 8)
        memory = model.encode(batch.source)
        expected = model.length.loss(memory.states, memory.mask, (tokens != PAD).sum(1)).sum()
        for row in range(len(PAIRS)):
            alone = memory.select(torch.tensor([row]))
            expected = expected - model.log_weights(tokens[row : row + 1], alone, noise[row : row + 1])[0]
        torch.testing.assert_close(loss.total, expected)
        assert loss.count == 4 + 8 + 4, "EOS of the padding counts"


class TestPhases:
    def test_meets_the_protocols(self) -> None:
        model = small()
        assert isinstance(model, CountsUpdates) and isinstance(model, RescoringModel) and model.traits.rescores
        assert isinstance(model.encode(collate_sources([[5]])), Memory)

    def test_weights_of_the_divergence(self) -> None:
        phases = small(autoencoder_updates=3, kl_updates=4).phases
        weights = []
        for _ in range(9):
            phases.begin()
            weights.append(phases.kl_weight)
        assert weights == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
        at_once = small(autoencoder_updates=0, kl_updates=0).phases
        at_once.begin()
        assert at_once.kl_weight == 1 and at_once.first and at_once.first_with_prior

    def test_each_part_is_fitted_once_before_its_first_update(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With several micro-batches to an update, and validation in between; what a checkpoint brings back too."""
        model = small(autoencoder_updates=2, kl_updates=2).train()
        fitted: list[tuple[str, int]] = []
        for part, name in ((model.posterior, "fit_means"), (model.posterior, "fit_variances"), (model.prior, "fit")):
            original = getattr(part, name)

            def noted(*given: Any, name: str = name, original: Any = original) -> None:
                fitted.append((name, int(model.phases.updates)))
                original(*given)

            monkeypatch.setattr(part, name, noted)
        for _ in range(5):
            update(model, batches=3)
            with torch.no_grad():
                model.eval().loss(collate(PAIRS))
            model.train().zero_grad(set_to_none=False)
        assert fitted == [("fit_means", 1), ("fit_variances", 3), ("fit", 3)]
        other = small(autoencoder_updates=2, kl_updates=2).train()
        other.load_state_dict(model.state_dict())
        other.begin_update()
        assert int(other.phases.updates) == 6 and other.phases.kl_weight == 1

    def test_the_autoencoder_draws_nothing_and_leaves_the_prior_alone(self) -> None:
        model = small(autoencoder_updates=2).train()
        first, second = update(model, batches=2)
        assert first == second
        assert all(weight.grad is None for weight in model.prior.parameters())
        assert not any(weight.grad.any() for weight in model.posterior.log_variance.parameters())
        model.begin_update()
        update(model)
        assert all(weight.grad is not None for weight in model.prior.parameters())

    def test_fitting_standardises(self) -> None:
        model = small(autoencoder_updates=0).train()
        batch = collate(PAIRS)
        tokens = padded_targets(batch.target, 4, OURS)
        mask = tokens != PAD
        seen: list[Tensor] = []
        with torch.no_grad():
            model._fit(batch.source, tokens, means=True, prior=True)
            memory = model.encode(batch.source)
            condition = Condition(mask, memory.states, memory.mask)
            posterior = model.posterior(model.target_embedding, tokens, condition)
            for found in (posterior.mean[mask], posterior.log_variance[mask]):
                torch.testing.assert_close(found.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
                torch.testing.assert_close(found.std(0, correction=0), torch.full((8,), FIRST_DEVIATION))
            first = next(layer for layer in model.prior.modules() if isinstance(layer, ActNorm))
            torch.manual_seed(9)
            model._fit(batch.source, tokens, means=False, prior=True)
            torch.manual_seed(9)
            seen.append(first(posterior.at(torch.randn(*tokens.shape, 8)), condition)[0][mask])
        torch.testing.assert_close(seen[0].mean(0), torch.zeros(8), atol=1e-5, rtol=0)
        torch.testing.assert_close(seen[0].std(0, correction=0), torch.ones(8))

    def test_a_loop_that_forgets_to_say_that_an_update_begins(self) -> None:
        with pytest.raises(AssertionError, match="call begin_update"):
            small().train().loss(collate(PAIRS))


class TestRescoring:
    def test_estimates_are_of_the_words_alone(self) -> None:
        """By hand: log mean of the weights of 3 samples and the length's log-probability; padding changes nothing."""
        model = small().eval()
        source = collate_sources([source for source, _ in PAIRS])
        options = DecodingOptions(beam=2, n_best=2, rescoring_samples=3)
        found = decode(model, source, options)
        plain = decode(model, source, DecodingOptions(beam=2, n_best=2))
        for row, group in enumerate(found):
            assert {hypothesis.tokens for hypothesis in group} == {hypothesis.tokens for hypothesis in plain[row]}
            (alone,) = decode(model, source[row : row + 1, : len(PAIRS[row][0]) + 1], options)
            assert [each.tokens for each in alone] == [each.tokens for each in group]
            with torch.no_grad():
                memory = model.encode(source[row : row + 1])
                for hypothesis, its in zip(group, alone, strict=True):
                    if not hypothesis.tokens:
                        continue
                    tokens = padded_targets(torch.tensor([[*hypothesis.tokens, EOS]]), 4, OURS)
                    noise = model._common_noise(3, tokens.shape[1])
                    weights = model.log_weights(tokens.expand(3, -1), memory.select(torch.zeros(3).long()), noise)
                    length = model.length.loss(memory.states, memory.mask, torch.tensor([tokens.shape[1]]))
                    expected = float(weights.logsumexp(0) - math.log(3) - length)
                    assert hypothesis.log_prob == pytest.approx(expected, abs=1e-3)
                    assert its.log_prob == pytest.approx(expected, abs=1e-3)
                    assert hypothesis.passes == 4 and hypothesis.iterations == 1

    def test_noise_of_a_position_is_always_the_same(self) -> None:
        model = small()
        torch.testing.assert_close(model._common_noise(3, 12)[:, :8], model._common_noise(3, 8))

    def test_less_than_none(self) -> None:
        with pytest.raises(UserError, match=r"'rescoring_samples': .*greater than or equal to 0, but it is -1"):
            DecodingOptions(beam=1, rescoring_samples=-1)


class TestEdges:
    def test_a_target_much_longer_or_shorter_than_its_source(self) -> None:
        model = small().eval()
        batch = collate([([5], [6] * 70), ([5] * 70, [6])], index=[3, 4])
        loss = model.loss(batch)
        assert loss.total.isfinite() and loss.count == 72 + 4
        assert update(small(autoencoder_updates=0).train())

    @pytest.mark.parametrize(("source", "target"), [([], []), ([5], []), ([], [5])])
    def test_no_words_on_a_side(self, source: list[int], target: list[int]) -> None:
        model = small().eval()
        assert model.loss(collate([(source, target)])).count == 4
        assert model.loss(collate([(source, target), *PAIRS])).total.isfinite()
        for samples in (0, 2):
            options = DecodingOptions(beam=5, n_best=5, rescoring_samples=samples)
            assert len(decode(model, collate_sources([source]), options)[0]) == 5

    def test_outputs_end_before_the_first_eos_and_may_be_empty(self) -> None:
        model = small().eval()
        with torch.no_grad():
            model.decoder.norm.weight.zero_()
            model.decoder.norm.bias.copy_(model.target_embedding.weight[EOS])
            model.target_embedding.weight[EOS] *= 10
        options = DecodingOptions(beam=2, n_best=2, rescoring_samples=2)
        for group in decode(model, collate_sources([[5, 6], [7]]), options):
            assert [hypothesis.tokens for hypothesis in group] == [(), ()]
            assert all(hypothesis.log_prob == 0 for hypothesis in group)

    def test_only_eos_ends_an_output(self) -> None:
        model = small().eval()
        with torch.no_grad():
            model.target_embedding.weight[[PAD, UNK, BOS, MASK]] *= 30
        found = decode(model, collate_sources([[5, 6, 7], [8]]), DecodingOptions(beam=5, n_best=5))
        assert not {PAD, UNK, BOS, MASK, EOS} & {token for group in found for each in group for token in each.tokens}

    def test_logits_are_those_that_are_decoded(self) -> None:
        model, source = small().eval(), collate_sources([[5, 6, 7]])
        (hypothesis,) = decode(model, source, DecodingOptions(beam=1))[0]
        with torch.no_grad():
            lengths, _ = model.length.most_probable(*model.encode(source), candidates=1)
            words = (
                model(source, lengths[:, 0])[0].index_fill(1, torch.tensor([PAD, UNK, BOS, MASK]), -torch.inf).argmax(1)
            )
        assert list(hypothesis.tokens) == list(itertools.takewhile(lambda word: word != EOS, words.tolist()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"flow_steps": "4,,2"}, "flow_steps must be one to five whole numbers from 1.*'4,,2'"),
        ({"flow_steps": "4,0"}, "flow_steps must be"),
        ({"flow_steps": "1,1,1,1,1,1"}, "flow_steps must be"),
        ({"flow_steps": "four"}, "flow_steps must be"),
        ({"dim": 6, "heads": 1}, "dim must be divisible by 4 and by twice the heads"),
        ({"dim": 12, "heads": 4}, "dim must be divisible by 4 and by twice the heads"),
        ({"kl_updates": -1}, "kl_updates must be 0 or more, but is -1"),
        ({"posterior_layers": 0}, "posterior_layers must be 1 or more, but is 0"),
        ({"word_dropout": 1.0}, "word_dropout must be at least 0 and below 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_sizes_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FlowSeqConfig(VOCAB, VOCAB, **{**SIZES, **changed})


class TestTrainingsThatAreTooShort:
    def test_to_learn_a_prior(self) -> None:
        with pytest.raises(
            UserError, match=r"which are 30000; .* --set autoencoder_updates=1000 --set kl_updates=1000"
        ):
            FlowSeqConfig(VOCAB, VOCAB).check_updates(5000, patience=0)
        FlowSeqConfig(VOCAB, VOCAB, autoencoder_updates=1000).check_updates(1001, patience=0)

    def test_because_of_patience(self) -> None:
        with pytest.raises(UserError, match="would end the training after 5000 updates without a better validation"):
            FlowSeqConfig(VOCAB, VOCAB).check_updates(100_000, patience=5000)
        FlowSeqConfig(VOCAB, VOCAB, autoencoder_updates=4999).check_updates(100_000, patience=5000)
