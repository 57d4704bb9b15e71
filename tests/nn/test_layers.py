"""Positions in closed form, pre- and post-norm layers against torch.nn's, padding and stacking."""

import math

import pytest
import torch
from torch import nn

from seqdistill.nn.layers import Decoder, DecoderLayer, Embedding, Encoder, EncoderLayer, FeedForward, sinusoids

SIZES = (16, 32, 4, 0.0)


def copied(oracle: nn.Module, layer: EncoderLayer | DecoderLayer) -> nn.Module:
    """torch's layer with our layer's weights."""
    ours = [(oracle.self_attn, layer.self_attention.query_key_value.state_dict(), layer.self_attention.output)]
    if isinstance(layer, DecoderLayer):
        query, key_value = layer.cross_attention.query.state_dict(), layer.cross_attention.key_value.state_dict()
        packed = {name: torch.cat([query[name], key_value[name]]) for name in query}
        ours.append((oracle.multihead_attn, packed, layer.cross_attention.output))
    for attention, packed, output in ours:
        attention.in_proj_weight.data.copy_(packed["weight"])
        attention.in_proj_bias.data.copy_(packed["bias"])
        attention.out_proj.load_state_dict(output.state_dict())
    around = [layer.around_self, *([layer.around_cross] if isinstance(layer, DecoderLayer) else [])]
    for number, residual in enumerate([*around, layer.around_feed_forward], start=1):
        getattr(oracle, f"norm{number}").load_state_dict(residual.norm.state_dict())
    oracle.linear1.load_state_dict(layer.feed_forward.inner.state_dict())
    oracle.linear2.load_state_dict(layer.feed_forward.outer.state_dict())
    return oracle


def randomised(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


@pytest.mark.parametrize("norm_first", [False, True])
class TestLayersAreTorchs:
    def test_encoder_layer(self, norm_first: bool) -> None:
        layer = randomised(EncoderLayer(*SIZES, norm_first=norm_first))
        oracle = copied(nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=norm_first), layer)
        x, mask = torch.randn(2, 5, 16), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        expected = oracle(x, src_key_padding_mask=~mask)
        torch.testing.assert_close(layer(x, mask[:, None, None])[mask], expected[mask], rtol=1e-4, atol=1e-5)

    def test_decoder_layer(self, norm_first: bool) -> None:
        layer = randomised(DecoderLayer(*SIZES, norm_first=norm_first))
        oracle = copied(nn.TransformerDecoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=norm_first), layer)
        x, memory, mask = torch.randn(2, 4, 16), torch.randn(2, 3, 16), torch.tensor([[True] * 3, [True, False, False]])
        future = torch.ones(4, 4, dtype=torch.bool).triu(1)
        expected = oracle(x, memory, tgt_mask=future, memory_key_padding_mask=~mask)
        found = layer(x, None, memory, mask[:, None, None], causal=True)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_sinusoids_by_hand() -> None:
    """Four dimensions have the frequencies 1 and 1/10000 in tensor2tensor's form."""
    p, slow = 2.0, 2.0 / 10_000
    expected = torch.tensor([math.sin(p), math.sin(slow), math.cos(p), math.cos(slow)])
    torch.testing.assert_close(sinusoids(3, 4)[2], expected)


def test_there_is_no_longest_sentence() -> None:
    embedding = Embedding(10, 8)
    tokens = torch.full((1, 1000), 7)
    torch.testing.assert_close(embedding(tokens)[0], embedding.weight[7] * 8**0.5 + sinusoids(1000, 8))
    torch.testing.assert_close(embedding(tokens[:, :1], start=999)[0], embedding(tokens)[0, 999:])
    assert "positions" not in embedding.state_dict()


def test_feed_forward_by_hand() -> None:
    layer = randomised(FeedForward(3, 5, dropout=0.0))
    x = torch.randn(2, 4, 3)
    hidden = (x @ layer.inner.weight.T + layer.inner.bias).clamp(min=0)
    torch.testing.assert_close(layer(x), hidden @ layer.outer.weight.T + layer.outer.bias)


@pytest.mark.parametrize("norm_first", [False, True])
def test_padding_changes_nothing(norm_first: bool) -> None:
    encoder = Encoder(2, *SIZES, norm_first=norm_first)
    decoder = Decoder(2, *SIZES, norm_first=norm_first)
    source, target = torch.randn(1, 3, 16), torch.randn(1, 4, 16)

    def run(more: int, causal: bool) -> torch.Tensor:
        padded = [torch.cat([x, torch.full((1, more, 16), 9.0)], 1) for x in (source, target)]
        mask = [torch.arange(x.shape[1])[None] < x.shape[1] - more for x in padded]
        memory = encoder(padded[0], mask[0])
        return decoder(padded[1], mask[1], memory, mask[0], causal=causal)[:, :4]

    for causal in (False, True):
        torch.testing.assert_close(run(5, causal), run(0, causal))


def test_only_a_causal_decoder_is_blind_to_the_future() -> None:
    decoder, mask = Decoder(2, *SIZES, norm_first=True), torch.ones(1, 4, dtype=torch.bool)
    memory, x = torch.randn(1, 4, 16), torch.randn(1, 4, 16)
    changed = x.clone()
    changed[0, 3] = torch.randn(16)

    def states(x: torch.Tensor, causal: bool) -> torch.Tensor:
        return decoder(x, mask, memory, mask, causal=causal)[0, :3]

    torch.testing.assert_close(states(x, True), states(changed, True), rtol=0, atol=0)
    assert (states(x, False) - states(changed, False)).abs().max() > 1e-3
