"""A model whose decoding costs what a translation model's does, without training one.

Speed of decoding depends on sizes, lengths and when hypotheses end, not on what the words mean. The weights are random,
with sublayers and output sharpened until the model is about as sure of itself as a trained one (best hypothesis: about
-0.4 a token); the output vector of EOS is fitted by least squares, on outputs the model itself draws, so that ending
becomes as probable as going on where the output is as long as its source.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from seqdistill.data.batches import collate_sources
from seqdistill.models.autoregressive.configs import TransformerConfig
from seqdistill.models.autoregressive.transformer import Transformer
from seqdistill.vocabulary.sentencepiece import BOS, EOS, SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies

VOCAB = 8000
SYLLABLES = [start + vowel + end for start in "bdfgklmnprstvz" for vowel in "aeiou" for end in ("", "n", "r", "s")]


def make_tokenizers(seed: int = 7) -> Vocabularies:
    """A joint tokenizer of VOCAB pieces, trained on made-up words of Zipfian frequency."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(SYLLABLES, size)) for size in random.integers(1, 5, 12_000)]
    lines = [" ".join(words[i] for i in random.choice(len(words), 12, p=_zipf(len(words)))) for _ in range(20_000)]
    joint = SentencePiece.train(lines, vocab_size=VOCAB)
    return Vocabularies(joint, joint, joint=True)


def make_sources(count: int, seed: int) -> list[list[int]]:
    """Sentences of made-up words, lengths log-normal with mean 15 (3 to 60), words of Zipfian frequency."""
    random = np.random.default_rng(seed)
    lengths = random.lognormal(math.log(13.5), 0.45, count).round().clip(3, 60).astype(int)
    return [(5 + random.choice(VOCAB - 5, length, p=_zipf(VOCAB - 5))).tolist() for length in lengths]


def make_model(seed: int = 1, *, layers: int = 3, dim: int = 256) -> Transformer:
    """As many layers a side, feed-forward four times as wide, 4 heads, norm first; source embedding apart, for EOS is
    fitted."""
    torch.manual_seed(seed)
    config = TransformerConfig(
        VOCAB, VOCAB, dim=dim, ffn_dim=4 * dim, encoder_layers=layers, decoder_layers=layers, tied=False
    )
    model = Transformer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("output.weight", "outer.weight")):
                parameter *= 3
            if name.endswith("query.weight"):
                parameter *= 2
        model.decoder.norm.weight.data.mul_(2.5)  # type: ignore[operator,union-attr]
        _fit_ending(model, slope=3.0)
    return model


def _fit_ending(model: Transformer, *, slope: float) -> None:
    """Makes EOS's logit that of the most probable word at the source's length, rising by `slope` a position."""
    sources = make_sources(600, seed=99)
    batch = collate_sources(sources)
    contexts = _drawn(model, batch, steps=70)
    states = model.states(batch, contexts)[:, :-1]
    beyond = torch.arange(states.shape[1]) - torch.tensor([len(source) for source in sources])[:, None]
    near = (beyond > -8) & (beyond < 5)
    states, wanted = states[near], slope * beyond[near].clamp(-5, 4)
    wanted = wanted + (states @ model.target_embedding.weight[5:].T).amax(1).mean()
    ridge = states.T @ states + torch.eye(states.shape[1])
    model.target_embedding.weight[EOS] = torch.linalg.solve(ridge, states.T @ wanted)


def _drawn(model: Transformer, batch: torch.Tensor, *, steps: int) -> torch.Tensor:
    """BOS and `steps` words drawn among the five most probable; never an end."""
    generator = torch.Generator().manual_seed(0)
    state, words = model.encode(batch), [torch.full((len(batch),), BOS)]
    for _ in range(steps):
        log_probs, state = model.step(words[-1], state)
        top, ids = log_probs[:, 5:].topk(5)
        place = torch.multinomial(top.softmax(1), 1, generator=generator)
        words.append(ids.gather(1, place).squeeze(1) + 5)
    return torch.stack(words, 1)


def _zipf(count: int) -> np.ndarray:
    weights = 1 / np.arange(10, count + 10)
    return weights / weights.sum()
