"""Attention against torch.nn.MultiheadAttention with the same weights."""

import pytest
import torch
from torch import nn

from seqdistill.nn.attention import CrossAttention, SelfAttention

DIM, HEADS = 16, 4
REAL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def oracle_for(attention: SelfAttention | CrossAttention) -> nn.MultiheadAttention:
    oracle = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    if isinstance(attention, SelfAttention):
        weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
    else:
        weight = torch.cat([attention.query.weight, attention.key_value.weight])
        bias = torch.cat([attention.query.bias, attention.key_value.bias])
    with torch.no_grad():
        oracle.in_proj_weight.copy_(weight)
        oracle.in_proj_bias.copy_(bias)
        oracle.out_proj.load_state_dict(attention.output.state_dict())
    return oracle


def with_random_biases(attention):
    for name, parameter in attention.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return attention


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_is_torchs(causal: bool) -> None:
    attention, x = with_random_biases(SelfAttention(DIM, HEADS)), torch.randn(2, 5, DIM)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    expected, _ = oracle_for(attention)(x, x, x, key_padding_mask=~REAL, attn_mask=future, need_weights=False)
    found = attention(x, None if causal else REAL[:, None, None], causal=causal)
    torch.testing.assert_close(found[REAL], expected[REAL])  # of padding, nothing is promised


def test_cross_attention_is_torchs() -> None:
    attention = with_random_biases(CrossAttention(DIM, HEADS))
    x, memory = torch.randn(2, 3, DIM), torch.randn(2, 5, DIM)
    expected, _ = oracle_for(attention)(x, memory, memory, key_padding_mask=~REAL, need_weights=False)
    torch.testing.assert_close(attention(x, memory, REAL[:, None, None]), expected)


def test_gradients_are_torchs() -> None:
    attention, x = SelfAttention(DIM, HEADS), torch.randn(2, 5, DIM, requires_grad=True)
    oracle = oracle_for(attention)
    seen = torch.randn(2, 5, DIM) * REAL[..., None]
    found = torch.autograd.grad((attention(x, REAL[:, None, None], causal=False) * seen).sum(), x)
    expected = torch.autograd.grad((oracle(x, x, x, key_padding_mask=~REAL)[0] * seen).sum(), x)
    torch.testing.assert_close(found, expected)


def test_queries_keys_and_values_start_as_in_fairseq() -> None:
    """Xavier's bound sqrt(6 / (in + out)) times sqrt(1/2) for each of the three, whole for the output."""
    bound = (6 / (2 * 256)) ** 0.5
    attention = SelfAttention(256, HEADS)
    for part in attention.query_key_value.weight.chunk(3):
        assert 0.99 * bound < part.abs().max().item() * 2**0.5 <= bound
    assert 0.99 * bound < attention.output.weight.abs().max().item() <= bound
    assert not attention.query_key_value.bias.any() and not attention.output.bias.any()


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_under_autocast_are_close(causal: bool) -> None:
    """Computed another way in training (see `attend`), and to bfloat16's eight bits those of float32."""
    attention, x = SelfAttention(DIM, HEADS), torch.randn(2, 5, DIM, requires_grad=True)
    visible = None if causal else REAL[:, None, None]
    seen = torch.randn(2, 5, DIM) * REAL[..., None]
    exact = torch.autograd.grad((attention(x, visible, causal=causal) * seen).sum(), x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(x, visible, causal=causal)
        decoded = attention(x.detach(), visible, causal=causal)
    rounded = torch.autograd.grad((found * seen).sum(), x)[0]
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05 * float(exact.std()))
    torch.testing.assert_close(decoded[REAL], found[REAL], rtol=0.05, atol=0.05)
