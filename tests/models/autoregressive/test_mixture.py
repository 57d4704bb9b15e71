"""The mixture of experts: who learns a sentence, what one expert writes, and that experts part two ways of writing."""

import copy
import math

import pytest
import torch

from seqdistill.data.batches import Batch, collate
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import MixtureConfig
from seqdistill.models.autoregressive.mixture import Mixture
from seqdistill.models.interface import ExpertsModel, HasLogMetrics
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import BOS, EOS, PAD

VOCAB, UPDATES = 12, 150
SIZES = {"dim": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 6]), ([7], [8]), ([9, 5, 6], [1, 7, 8, 9]), ([5], [5, 5])]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def mixture(**sizes) -> Mixture:
    """Untrained, its experts far apart."""
    model = Mixture(MixtureConfig(VOCAB, VOCAB, **{**SIZES, **sizes}))
    with torch.no_grad():
        model.starts *= 6
    return model


def test_meets_the_protocols() -> None:
    assert isinstance(mixture(), ExpertsModel) and isinstance(mixture(), HasLogMetrics)


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_winners_by_a_loop_over_sentences_experts_and_words(tied: bool) -> None:
    """Each sentence's log-probability word by word, from the stored states of decoding, with dropout asked for."""
    model = mixture(experts=4, tied=tied, dropout=0.5).train()
    batch = collate(PAIRS * 3)
    found = model.winners(batch)
    assert model.training and all(module.training for module in model.modules())
    model.eval()
    expected = []
    for source, words in PAIRS * 3:
        scores = []
        for expert in range(4):
            model.choose(expert + 1)
            state, total = model.encode(torch.tensor([[*source, EOS]])), 0.0
            for previous, word in zip([BOS, *words], [*words, EOS], strict=True):
                log_probs, state = model.step(torch.tensor([previous]), state)
                total += float(log_probs[0, word])
            scores.append(total)
        expected.append(scores.index(max(scores)))
    assert found.tolist() == expected
    assert len(set(expected)) > 1


def test_the_loss_is_that_of_each_sentence_under_its_winner() -> None:
    model, batch = mixture(), collate(PAIRS)
    winners = model.train().winners(batch).tolist()
    total = model.loss(batch, label_smoothing=0.1)
    model.eval()
    alone = []
    for pair, winner in zip(PAIRS, winners, strict=True):
        model.choose(winner + 1)
        alone.append(model.loss(collate([pair]), label_smoothing=0.1))
    torch.testing.assert_close(total.total, torch.stack([loss.total for loss in alone]).sum())
    assert total.count == sum(loss.count for loss in alone)


def test_only_winners_have_gradients() -> None:
    model, batch = mixture(experts=5).train(), collate(PAIRS)
    winners = set(model.winners(batch).tolist())
    model.loss(batch).total.backward()
    gradients = model.starts.grad
    assert gradients is not None
    assert {number for number in range(5) if gradients[number].any()} == winners
    assert len(winners) < 5


def test_padding_and_batch_change_nothing() -> None:
    model = mixture().train()
    losses = [model.loss(batch).total for batch in (collate(PAIRS), collate(PAIRS, pad_to=16))]
    alone = [model.loss(collate([pair])).total for pair in PAIRS]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], torch.stack(alone).sum())


def test_one_expert_with_the_vector_of_bos_is_a_transformer() -> None:
    """Losses, gradients and outputs; BOS's own vector then learns as an output, and that of the expert as the input."""
    model = mixture(experts=1, tied=False).train()
    plain = copy.deepcopy(model.transformer).train()
    with torch.no_grad():
        model.starts[0] = plain.target_embedding.weight[BOS]
    batch = collate(PAIRS)
    ours, theirs = model.loss(batch, label_smoothing=0.1), plain.loss(batch, label_smoothing=0.1)
    torch.testing.assert_close(ours.total, theirs.total)
    ours.total.backward(), theirs.total.backward()
    for (name, weight), other in zip(model.transformer.named_parameters(), plain.parameters(), strict=True):
        gradient, expected = weight.grad, other.grad
        if name == "target_embedding.weight":
            gradient = gradient.clone()
            gradient[BOS] += model.starts.grad[0]
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6, msg=name)
    for options in (DecodingOptions(beam=1), DecodingOptions(beam=4, n_best=4)):
        found, expected = decode(model, batch.source, options), decode(plain, batch.source, options)
        for mine, its in zip(found, expected, strict=True):
            assert [each.tokens for each in mine] == [each.tokens for each in its]
            assert [each.score for each in mine] == pytest.approx([each.score for each in its], abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("expert", [1, 3])
def test_step_by_step_as_all_at_once(expert: int) -> None:
    """In groups of three, more steps than the cache's first room; sampled groups begin before the first step."""
    model, source = mixture().eval(), collate(PAIRS).source
    model.choose(expert)
    context = torch.cat([torch.full((15, 1), BOS), torch.randint(5, VOCAB, (15, 29))], 1)
    expected = model(source.repeat_interleave(3, 0), context.roll(-1, 1)).log_softmax(-1)
    state = model.encode(source).repeat(3)
    for place in range(30):
        log_probs, state = model.step(context[:, place], state)
        torch.testing.assert_close(log_probs, expected[:, place], rtol=1e-4, atol=1e-5)


def test_shares_of_the_sentences_won_are_told_and_forgotten() -> None:
    model, batch = mixture().train(), collate(PAIRS)
    winners = model.winners(batch)
    model.loss(batch), model.loss(batch)
    model.eval().loss(batch)
    counts = [int((winners == expert).sum()) for expert in range(3)]
    assert model.log_metrics() == {f"expert_{k}_share": round(count / 5, 4) for k, count in enumerate(counts, 1)}
    assert set(model.log_metrics().values()) == {0.0}


def test_experts_part_two_ways_of_writing() -> None:
    """Targets are the source in words 5 to 9, or all of it in words 10 to 14: each expert comes to write one of the two
    without a mistake, so a sentence costs a mixture nothing, and a Transformer, which cannot know, ln 2."""
    chances = torch.Generator().manual_seed(2)

    def sentences(count: int) -> Batch:
        lengths = torch.randint(1, 4, (count,), generator=chances).tolist()
        sources = [torch.randint(5, 10, (length,), generator=chances) for length in lengths]
        others = (torch.rand(count, generator=chances) < 0.5).tolist()
        return collate([(x.tolist(), (x + 5 * other).tolist()) for x, other in zip(sources, others, strict=True)])

    losses = {}
    for experts in (1, 2):
        torch.manual_seed(1)
        model = Mixture(MixtureConfig(15, 15, **{**SIZES, "dim": 32, "ffn_dim": 64, "experts": experts}))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98))
        for update in range(UPDATES):
            optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (update + 1) / 20) * (1 - update / UPDATES)
            optimizer.zero_grad()
            loss = model.loss(sentences(32))
            (loss.total / loss.count).backward()
            optimizer.step()
        model.log_metrics()
        with torch.no_grad():
            losses[experts] = float(model.loss(sentences(500)).total) / 500
    assert losses[1] > 0.9 * math.log(2) and losses[2] < 0.1 * math.log(2)
    assert all(0.4 < share < 0.6 for share in model.log_metrics().values())
    unseen = sentences(100)
    sources = [tuple(word for word in row if word not in (PAD, EOS)) for row in unseen.source.tolist()]
    written = []
    for expert in (1, 2):
        model.choose(expert)
        written.append([found[0].tokens for found in decode(model, unseen.source, DecodingOptions(beam=1))])
    assert sorted(written) == [sources, [tuple(word + 5 for word in row) for row in sources]]


@pytest.mark.parametrize("number", [0, 4, -1])
def test_an_expert_it_does_not_have(number: int) -> None:
    with pytest.raises(UserError, match=rf"expert {number}: this mixture has the experts 1 to 3"):
        mixture().choose(number)


def test_no_experts() -> None:
    with pytest.raises(UserError, match="experts must be 1 or more, but is 0"):
        mixture(experts=0)
