"""Validation scores against torch's cross-entropy and sacreBLEU, and independent of batches and ranks."""

import math

import pytest
import sacrebleu
import torch
import torch.nn.functional as F
from conftest import Data
from torch import nn

from seqdistill.data.batches import collate
from seqdistill.decoding.decode import decode
from seqdistill.decoding.hypothesis import DecodingOptions
from seqdistill.errors import UserError
from seqdistill.models.saved import create_model
from seqdistill.text.tokenizer import BOS
from seqdistill.training.validation import validation_scores


@pytest.fixture(scope="module")
def model(data: Data) -> nn.Module:
    torch.manual_seed(1)
    sizes = {"dim": 16, "ffn_dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    return create_model("transformer-tiny", data.tokenizers, **sizes).eval()


def test_loss_is_the_mean_cross_entropy_of_a_token(data: Data, model: nn.Module) -> None:
    total, count = 0.0, 0
    for line in range(len(data.valid)):
        batch = collate([(data.valid.source_ids(line), data.valid.target_ids(line))])
        context = torch.cat([torch.tensor([[BOS]]), batch.target[:, :-1]], dim=1)
        logits = model(batch.source, context).detach()[0]
        total += float(F.cross_entropy(logits, batch.target[0], reduction="sum"))
        count += len(batch.target[0])
    scores = validation_scores(model, data.valid, data.tokenizers, metric="loss", max_tokens=64)
    assert scores == pytest.approx({"loss": total / count, "perplexity": math.exp(total / count)}, rel=1e-5)


def test_bleu_is_that_of_the_greedy_output(data: Data, model: nn.Module) -> None:
    outputs = []
    for line in range(len(data.valid)):
        source = collate([(data.valid.source_ids(line), [])]).source
        outputs.append(data.tokenizers.target.decode(decode(model, source, DecodingOptions())[0][0].tokens))
    theirs = sacrebleu.corpus_bleu(outputs, [list(data.valid.targets())]).score
    scores = validation_scores(model, data.valid, data.tokenizers, metric="bleu", max_tokens=64)
    assert scores["bleu"] == pytest.approx(theirs)


def test_rouge_is_offered_and_batch_size_does_not_matter(data: Data, model: nn.Module) -> None:
    small, large = (
        validation_scores(model, data.valid, data.tokenizers, metric="rouge1", max_tokens=tokens)
        for tokens in (16, 999)
    )
    assert small == pytest.approx(large, rel=1e-5)
    assert small.keys() == {"loss", "perplexity", "rouge1"}


def test_validation_leaves_the_random_state_alone(data: Data, model: nn.Module) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    validation_scores(model, data.valid, data.tokenizers, metric="loss", max_tokens=64)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_metric_is_refused(data: Data, model: nn.Module) -> None:
    with pytest.raises(UserError, match="unknown metric 'blue', did you mean 'bleu'"):
        validation_scores(model, data.valid, data.tokenizers, metric="blue", max_tokens=64)
