"""Hybrids: paths that agree, an SSRU layer by the formulas, sizes in closed form, and that they learn to copy."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

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
    @torch.no_grad()
    def test_step_by_step_and_at_once(self, kind: dict[str, Any]) -> None:
        """Rows in groups of three, for longer than the table of positions begins with."""
        model, source = small(**kind), collate(PAIRS).source
        context = torch.cat([torch.full((12, 1), BOS), torch.randint(5, VOCAB, (12, 39))], 1)
        expected = model(source.repeat_interleave(3, 0), context.roll(-1, 1)).log_softmax(-1)
        state = model.encode(source).repeat(3)
        for place in range(40):
            log_probs, state = model.step(context[:, place], state)
            torch.testing.assert_close(log_probs, expected[:, place], rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_selected_rows_go_on_from_their_own_past(self, kind: dict[str, Any]) -> None:
        """Rows copied, dropped and exchanged inside their groups, and a sentence that leaves."""
        model, source = small(**kind), collate(PAIRS[:3]).source
        context = torch.cat([torch.full((6, 1), BOS), torch.randint(5, VOCAB, (6, 3))], 1)
        state = model.encode(source).repeat(2)
        for place in range(3):
            _, state = model.step(context[:, place], state)
        rows = torch.tensor([5, 5, 1, 0])
        found, _ = model.step(context[rows, 3], state.select(rows))
        expected = model(source[rows // 2], context[rows].roll(-1, 1)).log_softmax(-1)[:, 3]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    def test_padding_changes_neither_loss_nor_gradient(self, kind: dict[str, Any]) -> None:
        model = small(**kind)
        tight, loose = collate(PAIRS), collate(PAIRS, pad_to=16)
        found = [torch.autograd.grad(model.loss(batch).total, list(model.parameters())) for batch in (tight, loose)]
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

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
    model, batch = small(cell=cell, dropout=0.1).train(), collate(PAIRS)
    totals = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = model.loss(batch, label_smoothing=0.1)
        gradients = torch.autograd.grad(loss.total, list(model.parameters()))
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        totals.append(loss.total)
    torch.testing.assert_close(totals[1], totals[0], rtol=0.02, atol=0.0)


@pytest.mark.parametrize("attention", ["every", "once"])
def test_learns_to_copy(attention: str) -> None:
    """In seconds: words of unseen sequences, greedily, step by step."""
    model = small(dim=32, ffn_dim=64, encoder_layers=1, attention=attention).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for update in range(250):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, update / 20) * (1 - update / 250)
        words = torch.randint(5, VOCAB, (64, 5)).tolist()
        loss = model.loss(collate([(each, each) for each in words]))
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
    words, tokens, written = torch.randint(5, VOCAB, (50, 5)), torch.full((50,), BOS), []
    with torch.no_grad():
        state = model.eval().encode(collate_sources(words.tolist()))
        for _ in range(5):
            log_probs, state = model.step(tokens, state)
            tokens = log_probs.argmax(-1)
            written.append(tokens)
    assert (torch.stack(written, 1) == words).float().mean() > 0.95


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="divisible by heads, but dim is 30 and heads 4"):
        HybridConfig(VOCAB, VOCAB, dim=30, heads=4)
