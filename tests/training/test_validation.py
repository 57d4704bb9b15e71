"""Validation scores against torch's cross-entropy and sacreBLEU, and independent of batches and ranks."""

import math
from pathlib import Path

import pytest
import sacrebleu
import torch
import torch.nn.functional as F
from conftest import Data
from torch import nn

from seqdistill.data.batches import collate
from seqdistill.data.store import Store, build_store
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.saved import create_model
from seqdistill.options import DecodingOptions
from seqdistill.training import validation
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
        logits = model(batch.source, batch.target).detach()[0]
        total += float(F.cross_entropy(logits, batch.target[0], reduction="sum"))
        count += len(batch.target[0])
    scores = validation_scores(model, data.valid, data.tokenizers, metric="loss", max_tokens=64)
    assert scores == pytest.approx({"loss": total / count, "perplexity": math.exp(total / count)}, rel=1e-5)


def test_bleu_is_that_of_the_greedy_output(data: Data, model: nn.Module) -> None:
    outputs = []
    for line in range(len(data.valid)):
        source = collate([(data.valid.source_ids(line), [])]).source
        outputs.append(data.tokenizers.target.decode(decode(model, source, DecodingOptions(beam=1))[0][0].tokens))
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


def test_of_several_targets_the_loss_is_over_all_and_the_output_is_decoded_once(
    data: Data, model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = list(zip(data.valid.sources(), data.valid.targets(), strict=True))
    pairs = [pair for number, pair in enumerate(pairs) if number == 0 or pair[0] != pairs[number - 1][0]]
    rows = [(source, [target, target[::-1], "an"]) for source, target in pairs]
    build_store([(source, each) for source, each_of in rows for each in each_of], data.tokenizers, tmp_path / "s.arrow")
    store = Store.open(tmp_path / "s.arrow")
    decoded = []

    def watched(model: nn.Module, source: torch.Tensor, options: DecodingOptions) -> list[list[Hypothesis]]:
        decoded.append(len(source))
        return decode(model, source, options)

    monkeypatch.setattr(validation, "decode", watched)
    small, large = (
        validation_scores(model, store, data.tokenizers, metric="bleu", max_tokens=tokens, num_targets=3)
        for tokens in (40, 999)
    )
    assert sum(decoded) == 2 * len(rows)
    alone = validation_scores(model, store, data.tokenizers, metric="loss", max_tokens=40)
    assert small["loss"] == pytest.approx(alone["loss"]) and small == pytest.approx(large, rel=1e-5)
    sources = [collate([(data.tokenizers.source.encode(source), [])]).source for source, _ in rows]
    outputs = [data.tokenizers.target.decode(decode(model, s, DecodingOptions(beam=1))[0][0].tokens) for s in sources]
    streams = [[targets[k] for _, targets in rows] for k in range(3)]
    assert small["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, streams).score)


def test_validation_leaves_the_random_state_alone(data: Data, model: nn.Module) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    validation_scores(model, data.valid, data.tokenizers, metric="loss", max_tokens=64)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_metric_is_refused(data: Data, model: nn.Module) -> None:
    with pytest.raises(UserError, match="unknown metric 'blue', did you mean 'bleu'"):
        validation_scores(model, data.valid, data.tokenizers, metric="blue", max_tokens=64)
