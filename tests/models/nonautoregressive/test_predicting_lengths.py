"""What all models that predict a length have in common: batches, padding, symbols, bad input."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqdistill.data.batches import collate, collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.models.family import FAMILIES, resolved
from seqdistill.models.interface import Memory, RefinementModel
from seqdistill.models.nonautoregressive.shared.canvas import most_probable
from seqdistill.nn.flow_layers import AffineCoupling
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, EOS, MASK, PAD, UNK

NAMES = ("nat", "inat", "cmlm", "flowseq")
ITERATIONS = {"nat": 1, "inat": 10, "cmlm": 10, "flowseq": 1}
WITH_CLASSES = NAMES[:3]
"""Those with 256 classes of lengths, and Vaswani et al.'s base size."""
VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [UNK, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
SOURCES = [source for source, _ in PAIRS]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(name: str, **sizes: Any) -> Any:
    model_class, config_class = resolved(FAMILIES[name].model), FAMILIES[name].config
    if name == "flowseq":
        sizes = {"posterior_layers": 1, "flow_steps": "1,1,1", "flow_ffn_dim": 16, "word_dropout": 0.0} | sizes
    model = model_class(config_class(VOCAB, VOCAB, **{**SMALL, **sizes})).eval()
    for layer in model.modules():
        if isinstance(layer, AffineCoupling):
            torch.nn.init.normal_(layer.output.weight, std=0.02)
    return model


@pytest.mark.parametrize("name", NAMES)
class TestEveryModel:
    def test_meets_the_protocols(self, name: str) -> None:
        model = small(name)
        assert isinstance(model, RefinementModel) and model.traits.non_autoregressive and not model.traits.inserts
        assert model.iterations == ITERATIONS[name]
        assert isinstance(model.encode(collate_sources([[5]])), Memory)

    def test_amount_of_padding_changes_nothing(self, name: str) -> None:
        """Neither in the loss, where equal seeds draw the same, nor in the output."""
        model, batch = small(name), collate(PAIRS)
        wider = batch._replace(source=F.pad(batch.source, (0, 9)), target=F.pad(batch.target, (0, 5)))
        losses = []
        for each in (batch, wider):
            torch.manual_seed(3)
            losses.append(model.loss(each))
        torch.testing.assert_close(losses[0].total, losses[1].total)
        assert losses[0].count == losses[1].count
        narrow, wide = (decode(model, each.source, DecodingOptions(beam=2)) for each in (batch, wider))
        assert [found[0].tokens for found in narrow] == [found[0].tokens for found in wide]
        assert [found[0].passes for found in narrow] == [found[0].passes for found in wide]

    @pytest.mark.parametrize("beam", [1, 3])
    def test_batch_of_one_is_batch_of_many(self, name: str, beam: int) -> None:
        model, options = small(name), DecodingOptions(beam=beam)
        together = decode(model, collate_sources(SOURCES), options)
        for source, hypotheses in zip(SOURCES, together, strict=True):
            (alone,) = decode(model, collate_sources([source]), options)
            assert alone[0].tokens == hypotheses[0].tokens
            assert alone[0].score == pytest.approx(hypotheses[0].score, abs=1e-4)
            assert (alone[0].passes, alone[0].iterations) == (hypotheses[0].passes, hypotheses[0].iterations)

    def test_never_writes_a_special_symbol(self, name: str) -> None:
        model = small(name)
        with torch.no_grad():
            model.source_embedding.weight[[PAD, UNK, BOS, EOS, MASK]] *= 30
        hypotheses = decode(model, collate_sources(SOURCES), DecodingOptions(beam=3, n_best=3))
        written = [token for group in hypotheses for found in group for token in found.tokens]
        assert written and not {PAD, UNK, BOS, EOS, MASK} & set(written)

    def test_gradient_reaches_every_parameter(self, name: str) -> None:
        model = small(name, tied=False)
        model.loss(collate(PAIRS)).total.backward()
        without = [part for part, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert without == []

    @pytest.mark.parametrize("source", [[], [7]])
    def test_sources_of_no_and_of_one_token(self, name: str, source: list[int]) -> None:
        model = small(name)
        assert model.loss(collate([(source, [6])])).total.isfinite()
        assert decode(model, collate_sources([source]), DecodingOptions(beam=2))[0][0].tokens

    def test_longer_than_the_limit_is_cut(self, name: str) -> None:
        found = decode(small(name), collate_sources(SOURCES), DecodingOptions(beam=4, n_best=4, max_length=2))
        assert {len(hypothesis.tokens) for group in found for hypothesis in group} <= {1, 2}

    def test_in_bfloat16_a_loss_and_its_gradient_are_close(self, name: str) -> None:
        model, losses = small(name), []
        for enabled in (False, True):
            torch.manual_seed(3)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                losses.append(model.loss(collate(PAIRS), label_smoothing=0.1))
        losses[1].total.backward()
        assert losses[1].total.item() == pytest.approx(losses[0].total.item(), rel=0.02)
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", WITH_CLASSES)
class TestModelsWithLengthClasses:
    def test_base_size_of_the_paper(self, name: str) -> None:
        """Vaswani et al.'s base: 4 d^2 + 2 d f weights in an encoder layer, 8 d^2 + 2 d f in a decoder's."""
        model_class, config_class = resolved(FAMILIES[name].model), FAMILIES[name].config
        with torch.device("meta"):
            model = model_class(config_class(37_009, 37_009))
        d, f = 512, 2048
        attention, feed_forward, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
        layers = 6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm)
        expected = 37_009 * d + layers + 2 * norm + (d * 256 + 256)
        assert sum(weight.numel() for weight in model.parameters()) == expected

    def test_target_longer_than_the_length_classes(self, name: str) -> None:
        batch = collate([([5], [6]), ([5] * 10, [6] * 256)], index=[2, 7])
        with pytest.raises(UserError, match=r"line 8 .*: 256 target tokens.* allow at most 255"):
            small(name, length="absolute").loss(batch)
        assert small(name, length="offset").loss(batch).total.isfinite()


@pytest.mark.parametrize("places", [3, 300_000])
def test_most_probable_words_are_those_of_the_softmax(places: int) -> None:
    """More places than one chunk of logits holds too."""
    torch.manual_seed(0)
    states, weight = torch.randn(places, 4), torch.randn(VOCAB, 4)
    words, log_probs = most_probable(states, weight, forbidden=OURS.no_words)
    logits = (states @ weight.T).index_fill(1, torch.tensor([PAD, UNK, BOS, EOS, MASK]), -torch.inf)
    best = logits.log_softmax(-1).max(1)
    assert torch.equal(words, best.indices)
    torch.testing.assert_close(log_probs, best.values)
