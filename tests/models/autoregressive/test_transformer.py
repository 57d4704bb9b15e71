"""The Transformer: protocol, paths that agree, padding, causality, sizes in closed form, and that it learns to copy."""

import pytest
import torch
import torch.nn.functional as F
from autoregressive_models import check_autocast, check_padding, check_selection, check_steps, share_copied

from seqdistill.data.batches import Batch, collate, collate_sources
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer, contexts
from seqdistill.models.interface import AutoregressiveModel
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS, PAD

VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [1, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
KINDS = [{}, {"norm_first": False}, {"tied": False, "target_vocab": 25}]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes) -> Transformer:
    return Transformer(TransformerConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **SMALL, **sizes})).eval()


def test_meets_the_protocol() -> None:
    assert isinstance(small(), AutoregressiveModel) and not Transformer.traits.non_autoregressive


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_number_of_weights_in_closed_form(tied: bool, norm_first: bool) -> None:
    """V d for each embedding; 4 d^2 + 4 d an attention, 2 d f + f + d a feed-forward, 2 d a norm."""
    v, d, f, n, m = 8000, 64, 96, 3, 2
    sizes = {"dim": d, "ffn_dim": f, "encoder_layers": n, "decoder_layers": m}
    model = Transformer(TransformerConfig(v, v, **sizes, tied=tied, norm_first=norm_first))
    attention, feed_forward, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    layers = n * (attention + feed_forward + 2 * norm) + m * (2 * attention + feed_forward + 3 * norm)
    expected = v * d * (1 if tied else 2) + layers + (2 * norm if norm_first else 0)
    assert sum(weight.numel() for weight in model.parameters()) == expected


@pytest.mark.parametrize("kind", KINDS)
class TestPathsAgree:
    def test_loss_and_logits(self, kind: dict) -> None:
        model, batch = small(**kind), collate(PAIRS)
        logits = model(batch.source, batch.target)
        expected = F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=PAD, reduction="sum")
        loss = model.loss(batch)
        assert loss.count == batch.num_labels == 14
        torch.testing.assert_close(loss.total, expected)

    def test_batch_of_one_and_of_many(self, kind: dict) -> None:
        model = small(**kind)
        alone = [model.loss(collate([pair]), label_smoothing=0.1) for pair in PAIRS]
        together = model.loss(collate(PAIRS), label_smoothing=0.1)
        assert sum(loss.count for loss in alone) == together.count
        torch.testing.assert_close(torch.stack([loss.total for loss in alone]).sum(), together.total)

    def test_padding_changes_neither_loss_nor_gradient(self, kind: dict) -> None:
        check_padding(small(**kind), collate(PAIRS), collate(PAIRS, pad_to=16))

    def test_cached_and_uncached(self, kind: dict) -> None:
        """Step by step, longer than the cache's first room, rows in groups of three."""
        check_steps(small(**kind), collate(PAIRS).source, VOCAB)

    def test_selected_rows_go_on_from_their_own_past(self, kind: dict) -> None:
        """Rows copied, dropped and exchanged inside their groups, and a sentence that leaves."""
        check_selection(small(**kind), collate(PAIRS[:3]).source, VOCAB)


def test_no_position_sees_a_later_token() -> None:
    model, source = small(), collate_sources([[5, 6, 7]])
    context = torch.tensor([[BOS, 5, 6, 7, 8]])
    changed = context.clone()
    changed[0, 3] = 9
    before, after = model(source, context.roll(-1, 1))[0], model(source, changed.roll(-1, 1))[0]
    assert torch.equal(before[:3], after[:3]) and not torch.equal(before[3:], after[3:])


def test_contexts_are_shifted_targets() -> None:
    target = collate([([5], [7, 8]), ([5], [9])]).target
    assert contexts(target, OURS).tolist() == [[BOS, 7, 8], [BOS, 9, 3]]
    forced = OURS._replace(decoder_start=6, decoder_prompt=(3,))
    assert contexts(target, forced).tolist() == [[3, 6, 7, 8], [3, 6, 9, 3]]


def test_dropout_follows_the_global_generator() -> None:
    """What an exact resume of training rests on."""
    model, batch = small(dropout=0.3).train(), collate(PAIRS)
    totals = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        totals.append(model.loss(batch).total.item())
    assert totals[0] == totals[1] != totals[2]


def test_autocast_to_bfloat16_stays_near() -> None:
    check_autocast(small(dropout=0.1).train(), collate(PAIRS))


@pytest.mark.parametrize("norm_first", [True, False])
def test_learns_to_copy(norm_first: bool) -> None:
    """In seconds: words of unseen sequences, greedily, step by step."""
    model = small(dim=32, ffn_dim=64, encoder_layers=1, decoder_layers=1, norm_first=norm_first)
    assert share_copied(model, VOCAB, updates=200) > 0.95


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 30, "heads": 4}, "divisible by heads, but dim is 30 and heads 4"),
        ({"heads": 0}, "heads must be 1 or more, but is 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, but is 1.0"),
        ({"target_vocab": 21}, "the source has 20 tokens and the target 21: prepare the data with a joint vocabulary"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TransformerConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **sizes})


def test_batch_keeps_its_labels() -> None:
    """A target with nothing in it still has its EOS to learn."""
    batch = collate([([5, 6], [])])
    assert isinstance(batch, Batch) and small().loss(batch).count == 1
