"""Hybrids: paths that agree, an SSRU layer by the formulas, sizes in closed form, and that they learn to copy."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from autoregressive_models import check_autocast, check_padding, check_selection, check_steps, share_copied

from seqdistill.data.batches import collate, collate_sources
from seqdistill.errors import UserError
from seqdistill.models.autoregressive.configs import HybridConfig
from seqdistill.models.autoregressive.hybrid import Hybrid
from seqdistill.models.interface import AutoregressiveModel
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import BOS

VOCAB = 20
PAIRS = [([5, 6, 7, 8, 9], [9, 8]), ([10, 11], [11, 10, 12]), ([12], [13]), ([14, 15, 16], [1, 17, 18, 19])]
SMALL = {"dim": 16, "ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2, "heads": 2, "dropout": 0.0}
CELLS = ("sru", "ssru", "gru", "lstm")
KINDS: list[dict[str, Any]] = [
    *({"cell": cell, "attention": attention} for cell in CELLS for attention in ("every", "once")),
    {"norm_first": False},
    {"output_bias": True, "output_scale": 0.5},
]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def small(**sizes: Any) -> Hybrid:
    ids = sizes.pop("target_ids", OURS)
    config = HybridConfig(**{"source_vocab": VOCAB, "target_vocab": VOCAB, **SMALL, **sizes})
    return Hybrid(config, target_ids=ids).eval()


def test_meets_the_protocol() -> None:
    assert isinstance(small(), AutoregressiveModel) and not Hybrid.traits.non_autoregressive


@pytest.mark.parametrize(("attention", "readers"), [("every", 3), ("once", 1)])
def test_number_of_weights_in_closed_form(attention: str, readers: int) -> None:
    """An SSRU layer has 2 d^2 + d; the others as in a Transformer, those of the source in `readers` layers."""
    v, d, f, n, m = 8000, 64, 96, 3, 3
    model = Hybrid(HybridConfig(v, v, dim=d, ffn_dim=f, encoder_layers=n, decoder_layers=m, attention=attention))  # type: ignore[arg-type]
    full, fed, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    encoder = n * (full + fed + 2 * norm) + norm
    decoder = m * (2 * d * d + d + norm) + readers * (full + fed + 2 * norm) + norm
    assert sum(weight.numel() for weight in model.parameters()) == v * d + encoder + decoder


@pytest.mark.parametrize("kind", KINDS, ids=str)
class TestPathsAgree:
    def test_step_by_step_and_at_once(self, kind: dict[str, Any]) -> None:
        """Rows in groups of three, for longer than the table of positions begins with."""
        check_steps(small(**kind), collate(PAIRS).source, VOCAB)

    def test_selected_rows_go_on_from_their_own_past(self, kind: dict[str, Any]) -> None:
        """Rows copied, dropped and exchanged inside their groups, and a sentence that leaves."""
        check_selection(small(**kind), collate(PAIRS[:3]).source, VOCAB)

    def test_padding_changes_neither_loss_nor_gradient(self, kind: dict[str, Any]) -> None:
        check_padding(small(**kind), collate(PAIRS), collate(PAIRS, pad_to=16))

    def test_loss_is_the_cross_entropy_of_the_logits(self, kind: dict[str, Any]) -> None:
        model, batch = small(**kind), collate(PAIRS)
        logits = model(batch.source, batch.target)
        expected = F.cross_entropy(logits.flatten(0, 1), batch.target.flatten(), ignore_index=OURS.pad, reduction="sum")
        torch.testing.assert_close(model.loss(batch).total, expected)

    @torch.no_grad()
    def test_a_prompt_is_read_before_the_first_token(self, kind: dict[str, Any]) -> None:
        forced = OURS._replace(decoder_start=6, decoder_prompt=(3, 7))
        model, source = small(target_ids=forced, **kind), collate_sources([[5, 6], [7]])
        expected = model(source, torch.tensor([[8, 9], [9, 10]])).log_softmax(-1)
        first, state = model.step(torch.tensor([6, 6]), model.encode(source))
        second, _ = model.step(torch.tensor([8, 9]), state)
        torch.testing.assert_close(torch.stack([first, second], 1), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_ssru_decoder_layer_is_its_formulas() -> None:
    """f = s(Wf x + bf), c = f c' + (1 - f) W x, h = relu(c) around a norm; then attention to the source, then FFN."""
    model = small(decoder_layers=1, encoder_layers=1)
    memory, mask = model.read(collate_sources([[5, 6, 7]]))
    target = torch.tensor([[8, 9, 3]])
    x = model.target_embedding(torch.tensor([[BOS, 8, 9]]))[0]
    layer: Any = model.decoder.layers[0]
    cell_weight, forget_weight = layer.recurrence.weight[0].split(16, 1)
    cell, rows = torch.zeros(16), []
    for vector in x:
        read = F.layer_norm(vector, [16], layer.around_recurrence.norm.weight, layer.around_recurrence.norm.bias)
        forget = torch.sigmoid(read @ forget_weight + layer.recurrence.bias[0])
        cell = forget * cell + (1 - forget) * (read @ cell_weight)
        rows.append(vector + cell.relu())
    x = torch.stack(rows)
    asked = layer.cross_attention.query(layer.around_cross.norm(x))
    key, value = layer.cross_attention.key_value(memory[0]).chunk(2, -1)
    heads = [
        torch.softmax(asked[:, part] @ key[:, part].T / 8**0.5, -1) @ value[:, part]
        for part in (slice(0, 8), slice(8, 16))
    ]
    x = x + layer.cross_attention.output(torch.cat(heads, -1))
    inner = layer.feed_forward.inner(layer.around_feed_forward.norm(x)).relu()
    x = model.decoder.norm(x + layer.feed_forward.outer(inner))
    assert mask.all()
    torch.testing.assert_close(x @ model.target_embedding.weight.T, model(collate_sources([[5, 6, 7]]), target)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_autocast_to_bfloat16_stays_near(cell: str) -> None:
    check_autocast(small(cell=cell, dropout=0.1).train(), collate(PAIRS))


@pytest.mark.parametrize("attention", ["every", "once"])
def test_learns_to_copy(attention: str) -> None:
    """In seconds: words of unseen sequences, greedily, step by step."""
    model = small(dim=32, ffn_dim=64, encoder_layers=1, attention=attention)
    assert share_copied(model, VOCAB, updates=250) > 0.95


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="divisible by heads, but dim is 30 and heads 4"):
        HybridConfig(VOCAB, VOCAB, dim=30, heads=4)
